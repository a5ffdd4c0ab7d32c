/**
 * Labels of events after `asOf` (rule 13 of `conformance/pit/README.md`), over histories of the label's source and of the
 * source that censors. What is known is the knowledge cut of a dataset, `builtAt`, the same for all of its rows, so that a
 * key's live events are found once (`knownEvents`) and every row of the key is a search among them (`readLabel`).
 *
 *   end   = t + gap + horizon
 *   stop  = the first censoring event after t and before the end; without one the end
 *   window  (t + gap, end], exclusive [t + gap, end), of which only what is at or before `stop` is observed
 *   mature  builtAt ≥ stop + delay
 *
 * Histories of labels are not folded: their questions come from before the fold point of a view.
 */
import type { EntitySpec, FeatureViewSpec, LabelSpec, LabelWindowSpec, SourceSpec } from '../../domain/project/spec.ts';
import type { Expression } from '../../domain/project/expression.ts';
import { compileHistoryView } from './compile.ts';
import type { Fact } from './fact.ts';
import type { KeyHistory } from './history.ts';
import { type Instant, minus, plus, toInstant } from '../../domain/instant.ts';
import type { HistoryPlan, OutputValue } from './plan.ts';
import { eachLive, happenedBy, takesPart, tombstoneInForce } from './selection.ts';

/** `any` has POSITIVE, NEGATIVE, IMMATURE and CENSORED, other functions VALUE, IMMATURE and CENSORED. */
export type LabelStatus = 'POSITIVE' | 'NEGATIVE' | 'VALUE' | 'IMMATURE' | 'CENSORED';

export interface LabelRead {
  /** `any`: true, false or null; other functions the aggregate. Null where the status says that it is not known. */
  readonly value: OutputValue;
  readonly status: LabelStatus;
}

/** A source of events for a label, and the key that they are found by. */
export interface LabelSource {
  readonly source: SourceSpec;
  /** Types of the columns that `LabelWindowSpec` names as the key, in their order. */
  readonly keyParts: EntitySpec['keys'];
}

export interface LabelPlan {
  readonly name: string;
  /** Histories of the label's events; a view with one output, the label's aggregate. */
  readonly events: HistoryPlan;
  /** Histories of what censors; null: nothing does. */
  readonly censors: HistoryPlan | null;
  readonly any: boolean;
  readonly exclusive: boolean;
  readonly earlyPositive: boolean;
  readonly gap: Instant;
  readonly horizon: Instant;
  readonly delay: Instant;
}

/** @param censor the source of `label.window.censor`; null when there is none */
export function compileLabel(
  label: LabelSpec & { readonly window: LabelWindowSpec },
  events: LabelSource,
  censor: LabelSource | null,
): LabelPlan {
  const { window } = label;
  const any = window.fn === 'any';
  return {
    name: label.name,
    events: sideOf(label, events, window.key, any ? 'count' : window.fn, any ? null : label.of, window.where),
    censors:
      censor === null || window.censor === null
        ? null
        : sideOf(label, censor, window.censor.key, 'count', null, window.censor.where),
    any,
    exclusive: window.boundary === 'exclusive',
    earlyPositive: window.earlyPositive,
    gap: toInstant(window.gapMicros),
    horizon: toInstant(window.horizonMicros),
    delay: toInstant(window.delayMicros),
  };
}

function sideOf(
  { name, window }: LabelSpec & { readonly window: LabelWindowSpec },
  { source, keyParts }: LabelSource,
  key: readonly string[],
  fn: Exclude<LabelWindowSpec['fn'], 'any'>,
  of: Expression | null,
  where: Expression | null,
): HistoryPlan {
  const view: FeatureViewSpec = {
    name: `${name}-${source.name}`,
    version: 1,
    entity: source.name,
    source: source.name,
    key,
    features: [
      {
        name,
        fn,
        of: fn === 'rate' ? null : of,
        where,
        windows: [{ name: 'horizon', lengthMicros: window.horizonMicros, hopMicros: null }],
        default: null,
        description: '',
      },
    ],
    owner: source.owner,
    description: '',
  };
  return compileHistoryView(view, source, { name: source.name, keys: keyParts, description: '' });
}

/**
 * The live events of one key that the label (or its censor) takes, by position, as known at `builtAt`.
 * @param plan     `events` or `censors` of a label's plan
 * @param history  unfolded; null: a key without events, or a null key
 */
export function knownEvents(plan: HistoryPlan, history: KeyHistory | null, builtAt: Instant): readonly Fact[] {
  if (history === null) return NO_EVENTS;
  const events: Fact[] = [];
  const ender = tombstoneInForce(history.tombstones, builtAt);
  eachLive(plan, history, builtAt, Infinity, ender, (fact) => {
    if (takesPart(plan.outputs[0]!, fact)) events.push(fact);
    return true;
  });
  return events.reverse();
}

const NO_EVENTS: readonly Fact[] = [];

/**
 * The label of a row at `asOf`.
 * @param events, censors as `knownEvents` gives them for the row's keys at `builtAt`
 */
export function readLabel(
  plan: LabelPlan,
  events: readonly Fact[],
  censors: readonly Fact[],
  asOf: Instant,
  builtAt: Instant,
): LabelRead {
  const start = plus(asOf, plan.gap);
  const end = plus(start, plan.horizon);
  const censor = censors[happenedBy(censors, asOf)]?.eventAt;
  const censored = censor !== undefined && censor < end;
  const stop = censored ? censor : end;
  const last = plan.exclusive ? minus(end, 1) : end;
  const from = happenedBy(events, plan.exclusive ? minus(start, 1) : start);
  const to = happenedBy(events, stop < last ? stop : last);
  const mature = builtAt >= plus(stop, plan.delay);
  if (plan.any) {
    const hit = to > from;
    if (!mature && !(hit && plan.earlyPositive)) return IMMATURE;
    if (hit) return POSITIVE;
    return censored ? CENSORED : NEGATIVE;
  }
  if (!mature) return IMMATURE;
  return censored ? CENSORED : { value: aggregate(plan.events, events, from, to), status: 'VALUE' };
}

const IMMATURE: LabelRead = { value: null, status: 'IMMATURE' };
const CENSORED: LabelRead = { value: null, status: 'CENSORED' };
const POSITIVE: LabelRead = { value: true, status: 'POSITIVE' };
const NEGATIVE: LabelRead = { value: false, status: 'NEGATIVE' };

function aggregate(plan: HistoryPlan, events: readonly Fact[], from: number, to: number): OutputValue {
  const output = plan.outputs[0]!;
  const accumulator = plan.aggregates[0]!.create();
  for (let i = from; i < to; i++) {
    const event = events[i]!;
    accumulator.add(output.slot < 0 ? true : event.values[output.slot]!, event);
  }
  return accumulator.result(output);
}
