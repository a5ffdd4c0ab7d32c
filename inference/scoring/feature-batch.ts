import { messageOf } from '../../domain/errors.ts';
import type { Row } from '../../domain/project/expression.ts';
import type { RequestField } from '../../domain/project/spec.ts';
import type { Micros } from '../../domain/time.ts';
import { FEATURE_STATUSES } from '../../features/kernel/view-state.ts';
import type { OnlineStore, StateRef, StatesRead } from '../../features/online/online-store.ts';
import type { RowsRead } from '../../features/reader/feature-reader.ts';
import type { Circuit, CircuitPolicy } from './circuit.ts';

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
  /** The rows by feature, with the age of each value: what explains an answer, too slow for every one. */
  readRows(store: OnlineReader, rows: readonly FeatureRow[]): Promise<RowsRead>;
}

export interface FeatureRows {
  /** rows × columns, NaN where missing */
  readonly values: Float64Array;
  /** Of each value, a position in `FEATURE_STATUSES`. */
  readonly statuses: Uint8Array;
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

export interface BatchRead {
  /** One per group. */
  readonly matrices: readonly FeatureMatrix[];
  /** One per group that can wait: its states are here, and become features when it is called. */
  readonly later: readonly (() => FeatureMatrix)[];
}

export interface FeatureBatchReader {
  /**
   * All groups in one round trip to the store.
   * @param canWait groups whose features nobody waits for
   * @throws when the store does not answer
   */
  read(groups: readonly FeatureGroup[], canWait?: readonly FeatureGroup[]): Promise<BatchRead>;
  /** The same as if nothing were stored: what the request and the declared defaults alone give. */
  readWithoutStore(groups: readonly FeatureGroup[]): FeatureMatrix[];
}

export interface StoreGuard {
  /** A read that takes longer counts as failed. */
  readonly timeoutMs: number;
  /** While it is open the store is left alone, so that requests do not queue up behind its timeouts. */
  readonly circuit: Circuit;
  readonly nowMs: () => number;
  /** Told why a read failed, before the circuit is. */
  readonly onFailure?: (error: unknown) => void;
}

/** After one failure the store is left alone for a second; then a single read tries it. */
export const STORE_CIRCUIT: CircuitPolicy = {
  windowMs: 1_000,
  minCalls: 1,
  failureShare: 0,
  openMs: 1_000,
  probes: 1,
};

type States = Omit<StatesRead, 'knownSeq'> & { readonly knownSeq: StatesRead['knownSeq'] | null };
const NOTHING: States = { states: [], knownSeq: null, foldedAt: new Map() };

const NO_FAILURES: ReadonlyMap<number, string> = new Map();
const NULL = FEATURE_STATUSES.indexOf('null');

export function createFeatureBatchReader(
  store: OnlineReader,
  { timeoutMs, circuit, nowMs, onFailure }: StoreGuard,
): FeatureBatchReader {
  async function readGuarded(refs: readonly StateRef[]): Promise<States> {
    if (!circuit.admit(nowMs())) throw new Error('the online store has just failed and is left alone for a moment');
    try {
      const states = await within(timeoutMs, store.read(refs));
      circuit.record(nowMs(), 0);
      return states;
    } catch (error) {
      onFailure?.(error);
      circuit.record(nowMs(), 1);
      throw error;
    }
  }

  return {
    async read(groups, canWait = NO_GROUPS) {
      const refs = groups.map(refsOf);
      const laterRefs = canWait.map(refsOf);
      const all = refs.length === 1 && laterRefs.length === 0 ? refs[0]! : [...refs, ...laterRefs].flat();
      const read = all.length === 0 ? { ...NOTHING, knownSeq: new Map<string, number>() } : await readGuarded(all);
      let from = 0;
      const own = (count: number): States => ({ ...read, states: read.states.slice(from, (from += count)) });
      return {
        matrices: groups.map((group, i) => assemble(group, own(refs[i]!.length))),
        later: canWait.map((group, i) => {
          const states = own(laterRefs[i]!.length);
          return () => assemble(group, states);
        }),
      };
    },
    readWithoutStore: (groups) =>
      groups.map((group) => assemble(group, { ...NOTHING, states: new Array<null>(refsOf(group).length).fill(null) })),
  };
}

const NO_GROUPS: readonly FeatureGroup[] = [];

function refsOf({ input, rows }: FeatureGroup): readonly StateRef[] {
  return input.refsOf(rows);
}

/** State that cannot be read (of another layout, damaged) fails the rows that need it, not the batch. */
function assemble({ input, rows }: FeatureGroup, { states, knownSeq, foldedAt }: States): FeatureMatrix {
  try {
    const { values, statuses, readAt } = input.assembleVectors(states, rows, foldedAt);
    return { values, statuses, readAt, knownSeq, failures: NO_FAILURES };
  } catch {
    // one of the rows; below it is found out which
  }
  const width = input.columns.length;
  const values = new Float64Array(rows.length * width).fill(NaN);
  const statuses = new Uint8Array(rows.length * width).fill(NULL);
  const readAt = Float64Array.from(rows, ({ asOf }) => asOf);
  const failures = new Map<number, string>();
  let from = 0;
  rows.forEach((row, i) => {
    const own = states.slice(from, (from += input.refsOf([row]).length));
    try {
      const alone = input.assembleVectors(own, [row], foldedAt);
      values.set(alone.values, i * width);
      statuses.set(alone.statuses, i * width);
      readAt[i] = alone.readAt[0]!;
    } catch (error) {
      failures.set(i, messageOf(error));
    }
  });
  return { values, statuses, readAt, knownSeq, failures };
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
