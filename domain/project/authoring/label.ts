/** What is predicted: the outcome of the spine's own event, or of what happens in a window after the prediction. */
import type { Expression } from '../expression.ts';
import type { LabelSpec, LabelWindowSpec } from '../spec.ts';
import type { Duration } from './durations.ts';
import type { Columns, NamesOfType, RowOf, Source } from './source.ts';
import type { Condition, Term } from './terms.ts';
import type { Kind } from './view.ts';

/** `N` is the request fields that the label finds its events by; a model's spine must have them. */
export interface Label<N = unknown> {
  readonly spec: LabelSpec;
  readonly source: Source;
  readonly censorSource: Source | null;
  readonly needs: (request: N) => void;
}

/** The columns that hold the key, and the request fields they equal: `{ customer_id: 'customer' }`. */
type On<C extends Columns> = { readonly [Name in NamesOfType<C, 'i64' | 'str' | 'bool' | 'ts'>]?: string };

type FieldsOf<C extends Columns, M> = {
  readonly [Name in keyof M & keyof C as M[Name] & string]: Kind<C[Name]['type']>;
};

interface CensorDefinition<X extends Columns> {
  /** Events after which nothing more is observed: the account was closed, the contract ended. */
  readonly source: Source<X>;
  readonly on: { readonly [Name in keyof X & string]?: string };
  readonly where?: (row: RowOf<X>) => Condition;
}

interface WindowOptions<C extends Columns, X extends Columns> {
  /** How far ahead it looks, from the end of the gap. */
  readonly horizon: Duration;
  /** Left out of both sides, between the prediction and the window. */
  readonly gap?: Duration;
  /** How long after the window's end its events are still coming in: the row is mature then. */
  readonly delay?: Duration;
  /** `exclusive`: `[t + gap, t + gap + horizon)`; the boundary of the views over the same source. Left out: inclusive. */
  readonly boundary?: 'inclusive' | 'exclusive';
  /** Events that count. */
  readonly where?: (row: RowOf<C>) => Condition;
  readonly censor?: CensorDefinition<X>;
}

interface AnyWindow<C extends Columns, X extends Columns> extends WindowOptions<C, X> {
  readonly fn?: 'any';
  /** A hit counts as soon as it is known. */
  readonly earlyPositive?: boolean;
}

interface ValueWindow<C extends Columns, X extends Columns> extends WindowOptions<C, X> {
  readonly fn: Exclude<LabelWindowSpec['fn'], 'any'>;
}

interface OwnEventLabel<C extends Columns> {
  readonly source: Source<C>;
  readonly of: (row: RowOf<C>) => Condition;
  readonly description: string;
}

interface LaterEventsLabel<C extends Columns, X extends Columns, M extends On<C>> {
  readonly source: Source<C>;
  /** Which column of the source equals which field of the request. */
  readonly on: M;
  readonly description: string;
  /** Does such an event happen? A condition: true, false, or not known yet. */
  readonly window: AnyWindow<C, X>;
}

interface LaterValueLabel<C extends Columns, X extends Columns, M extends On<C>> {
  readonly source: Source<C>;
  readonly on: M;
  /** What is aggregated; left out for `count`. */
  readonly of?: (row: RowOf<C>) => Term;
  readonly description: string;
  /** A value over the events that happen. */
  readonly window: ValueWindow<C, X>;
}

/** The outcome of the spine's own event, known from the event's `availableAt` on. */
export function label<C extends Columns>(name: string, definition: OwnEventLabel<C>): Label;
/**
 * What happens after the prediction: events of a source with the row's key in `(t + gap, t + gap + horizon]`, as far as they
 * are known when the dataset is built. A row whose window is not over yet has no label; it is never taken for a no.
 *
 *     label('returned', { source: returns, on: { customer: 'customer' }, description: '…', window: { horizon: days(30) } })
 */
export function label<C extends Columns, const M extends On<C>, X extends Columns = C>(
  name: string,
  definition: LaterEventsLabel<C, X, M>,
): Label<FieldsOf<C, M>>;
export function label<C extends Columns, const M extends On<C>, X extends Columns = C>(
  name: string,
  definition: LaterValueLabel<C, X, M>,
): Label<FieldsOf<C, M>>;
export function label<C extends Columns, X extends Columns>(
  name: string,
  definition: OwnEventLabel<C> | LaterEventsLabel<C, X, On<C>> | LaterValueLabel<C, X, On<C>>,
): Label<never> {
  const { source: from, description } = definition;
  const windowed = 'window' in definition;
  const of = 'of' in definition ? definition.of?.(from.row).expression : undefined;
  return {
    source: from as unknown as Source,
    censorSource: windowed ? ((definition.window.censor?.source ?? null) as unknown as Source | null) : null,
    needs: () => undefined,
    spec: {
      name,
      source: from.spec.name,
      of: of ?? EVERY_ROW,
      description,
      ...(windowed && { window: windowSpec(definition.window, definition.on, from.row) }),
    },
  };
}

/** For labels that look at no value: `any`, and `count` of rows. */
const EVERY_ROW: Expression = { op: 'literal', value: true, type: 'bool' };

function windowSpec<C extends Columns, X extends Columns>(
  window: AnyWindow<C, X> | ValueWindow<C, X>,
  on: On<C>,
  row: RowOf<C>,
): LabelWindowSpec {
  const { horizon, gap, delay, boundary = 'inclusive', where, censor } = window;
  return {
    fn: window.fn ?? 'any',
    where: where?.(row).expression ?? null,
    ...joined(on),
    boundary,
    gapMicros: gap?.micros ?? 0,
    horizonMicros: horizon.micros,
    delayMicros: delay?.micros ?? 0,
    earlyPositive: 'earlyPositive' in window ? (window.earlyPositive ?? false) : false,
    censor:
      censor === undefined
        ? null
        : {
            source: censor.source.spec.name,
            ...joined(censor.on),
            where: censor.where?.(censor.source.row).expression ?? null,
          },
  };
}

function joined(on: Readonly<Record<string, string | undefined>>): { key: string[]; on: string[] } {
  const pairs = Object.entries(on).filter((pair): pair is [string, string] => pair[1] !== undefined);
  return { key: pairs.map(([name]) => name), on: pairs.map(([, field]) => field) };
}
