import type { Row } from '../../domain/project/expression.ts';
import type { RequestField } from '../../domain/project/spec.ts';
import type { Micros } from '../../domain/time.ts';

/** One row's worth of input: the checked request fields and the instant its features are as of. */
export interface FeatureRow {
  readonly request: Row;
  readonly asOf: Micros;
}

/** Address of the stored state of one key of one view. */
export interface StateRef {
  readonly viewId: string;
  readonly key: Buffer;
}

/** What a feature set asks of a batch: which states to read, and how they and the request become columns. */
export interface FeatureInput {
  readonly columns: readonly string[];
  readonly request: readonly RequestField[];
  /** @throws SerinError `INPUT_INVALID` naming the field */
  checkRequest(fields: Readonly<Record<string, unknown>>): Row;
  /** In an order that `assemble` knows. */
  refsOf(rows: readonly FeatureRow[]): readonly StateRef[];
  /** @param states by position of the reference; null: nothing stored  @returns rows × columns, NaN where missing */
  assemble(states: readonly (Buffer | null)[], rows: readonly FeatureRow[]): Float64Array;
}

export interface OnlineReader {
  /** States by position of the reference, in one round trip. */
  read(refs: readonly StateRef[]): Promise<readonly (Buffer | null)[]>;
}

export interface FeatureGroup {
  readonly input: FeatureInput;
  readonly rows: readonly FeatureRow[];
}

export interface FeatureBatchReader {
  /** One matrix per group, in one round trip to the store. @throws when the store does not answer */
  read(groups: readonly FeatureGroup[]): Promise<Float64Array[]>;
  /** The same as if nothing were stored: what the request and the declared defaults alone give. */
  readWithoutStore(groups: readonly FeatureGroup[]): Float64Array[];
}

export interface StoreGuard {
  /** A read that takes longer counts as failed. */
  readonly timeoutMs: number;
  /** After a failure the store is left alone this long, so that requests do not queue up behind its timeouts. */
  readonly restMs: number;
  readonly nowMs: () => number;
}

export function createFeatureBatchReader(store: OnlineReader, guard: StoreGuard): FeatureBatchReader {
  let restUntilMs = 0;

  async function readGuarded(refs: readonly StateRef[]): Promise<readonly (Buffer | null)[]> {
    if (guard.nowMs() < restUntilMs) throw new StoreResting();
    try {
      return await within(guard.timeoutMs, store.read(refs));
    } catch (error) {
      restUntilMs = guard.nowMs() + guard.restMs;
      throw error;
    }
  }

  function assemble(
    groups: readonly FeatureGroup[],
    refs: readonly (readonly StateRef[])[],
    states: readonly (Buffer | null)[],
  ) {
    let from = 0;
    return groups.map(({ input, rows }, i) => {
      const to = from + refs[i]!.length;
      const own = groups.length === 1 ? states : states.slice(from, to);
      from = to;
      return input.assemble(own, rows);
    });
  }

  return {
    async read(groups) {
      const refs = groups.map(({ input, rows }) => input.refsOf(rows));
      const all = refs.length === 1 ? refs[0]! : refs.flat();
      return assemble(groups, refs, all.length === 0 ? [] : await readGuarded(all));
    },
    readWithoutStore(groups) {
      const refs = groups.map(({ input, rows }) => input.refsOf(rows));
      const count = refs.reduce((sum, each) => sum + each.length, 0);
      return assemble(groups, refs, new Array<null>(count).fill(null));
    },
  };
}

class StoreResting extends Error {
  constructor() {
    super('the online store has just failed and is left alone for a moment');
  }
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
