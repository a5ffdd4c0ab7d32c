import type { Row } from '../../domain/project/expression.ts';
import type { RequestField } from '../../domain/project/spec.ts';
import type { Micros } from '../../domain/time.ts';
import type { OnlineStore, StateRef, StatesRead } from '../../features/online/online-store.ts';

/** One row's worth of input: the checked request fields and the instant its features are as of. */
export interface FeatureRow {
  readonly request: Row;
  readonly asOf: Micros;
}

/** What serving needs of a feature set's reader (features/reader/feature-reader.ts). */
export interface FeatureInput {
  readonly columns: readonly string[];
  readonly request: readonly RequestField[];
  /** @throws SerinError `INPUT_INVALID` naming the field */
  checkRequest(fields: unknown): Row;
  /** The states the rows need, row by row, in an order that `assembleVectors` knows. */
  refsOf(rows: readonly FeatureRow[]): readonly StateRef[];
  /** @param states one per reference; null: nothing stored  @param foldedAt as the store says it with the states */
  assembleVectors(
    states: readonly (Uint8Array | null)[],
    rows: readonly FeatureRow[],
    foldedAt?: StatesRead['foldedAt'],
  ): FeatureRows;
}

export interface FeatureRows {
  /** rows × columns, NaN where missing */
  readonly values: Float64Array;
  /** Per row, the instant at which its values hold (`features/reader`). */
  readonly readAt: Float64Array;
}

export type OnlineReader = Pick<OnlineStore, 'read'>;

/** The rows of a batch that one feature set is read for. */
export interface FeatureGroup {
  readonly input: FeatureInput;
  readonly rows: FeatureRow[];
}

export interface FeatureMatrix extends FeatureRows {
  /** Per view, the last ingest sequence that is in the values; null: nothing was read. */
  readonly knownSeq: ReadonlyMap<string, number> | null;
  /** Rows that could not be read, and why; their values are NaN. */
  readonly failures: ReadonlyMap<number, string>;
}

export interface FeatureBatchReader {
  /** One matrix per group, in one round trip to the store. @throws when the store does not answer */
  read(groups: readonly FeatureGroup[]): Promise<FeatureMatrix[]>;
  /** The same as if nothing were stored: what the request and the declared defaults alone give. */
  readWithoutStore(groups: readonly FeatureGroup[]): FeatureMatrix[];
}

export interface StoreGuard {
  /** A read that takes longer counts as failed. */
  readonly timeoutMs: number;
  /** After a failure the store is left alone this long, so that requests do not queue up behind its timeouts. */
  readonly restMs: number;
  readonly nowMs: () => number;
}

type States = Omit<StatesRead, 'knownSeq'> & { readonly knownSeq: StatesRead['knownSeq'] | null };
const NOTHING: States = { states: [], knownSeq: null, foldedAt: new Map() };

const NO_FAILURES: ReadonlyMap<number, string> = new Map();

export function createFeatureBatchReader(store: OnlineReader, guard: StoreGuard): FeatureBatchReader {
  let restUntilMs = 0;

  async function readGuarded(refs: readonly StateRef[]): Promise<States> {
    if (guard.nowMs() < restUntilMs) throw new Error('the online store has just failed and is left alone for a moment');
    try {
      return await within(guard.timeoutMs, store.read(refs));
    } catch (error) {
      restUntilMs = guard.nowMs() + guard.restMs;
      throw error;
    }
  }

  return {
    async read(groups) {
      const refs = groups.map(refsOf);
      const all = refs.length === 1 ? refs[0]! : refs.flat();
      const read = all.length === 0 ? { ...NOTHING, knownSeq: new Map<string, number>() } : await readGuarded(all);
      let from = 0;
      return groups.map((group, i) => {
        const states = read.states.slice(from, (from += refs[i]!.length));
        return assemble(group, { ...read, states });
      });
    },
    readWithoutStore: (groups) =>
      groups.map((group) => assemble(group, { ...NOTHING, states: new Array<null>(refsOf(group).length).fill(null) })),
  };
}

function refsOf({ input, rows }: FeatureGroup): readonly StateRef[] {
  return input.refsOf(rows);
}

/** State that cannot be read (of another layout, damaged) fails the rows that need it, not the batch. */
function assemble({ input, rows }: FeatureGroup, { states, knownSeq, foldedAt }: States): FeatureMatrix {
  try {
    const { values, readAt } = input.assembleVectors(states, rows, foldedAt);
    return { values, readAt, knownSeq, failures: NO_FAILURES };
  } catch {
    // one of the rows; below it is found out which
  }
  const width = input.columns.length;
  const values = new Float64Array(rows.length * width).fill(NaN);
  const readAt = Float64Array.from(rows, ({ asOf }) => asOf);
  const failures = new Map<number, string>();
  let from = 0;
  rows.forEach((row, i) => {
    const own = states.slice(from, (from += input.refsOf([row]).length));
    try {
      const alone = input.assembleVectors(own, [row], foldedAt);
      values.set(alone.values, i * width);
      readAt[i] = alone.readAt[0]!;
    } catch (error) {
      failures.set(i, error instanceof Error ? error.message : String(error));
    }
  });
  return { values, readAt, knownSeq, failures };
}

async function within<T>(timeoutMs: number, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`the online store did not answer within ${timeoutMs} ms`)), timeoutMs);
  });
  try {
    return await Promise.race([promise, timeout]);
  } finally {
    clearTimeout(timer);
  }
}
