import { SerinError } from '../../domain/errors.ts';
import { FEATURE_STATUSES } from '../../features/kernel/view-state.ts';
import type { ServedVersion } from '../model/served-version.ts';
import type { Failure, FallbackReason } from './answer.ts';
import type { Circuit, CircuitPolicy, Circuits } from './circuit.ts';
import type { FeatureMatrix } from './feature-batch.ts';
import { type RowScores, scoreRows, within } from './score-rows.ts';

/** Of a version, unless said otherwise. A call is a batch. */
export const VERSION_CIRCUIT: CircuitPolicy = {
  windowMs: 10_000,
  minCalls: 10,
  failureShare: 0.5,
  openMs: 5_000,
  probes: 3,
};

/** Rows that a version computing in another thread may have under way; beyond it they would only wait for their timeout. */
const MAX_ROWS_UNDER_WAY = 2_048;

export interface VersionScores {
  /** One per row; NaN where there is none. */
  readonly scores: Float64Array;
  /** Of the rows without a score, why. */
  readonly failures: ReadonlyMap<number, Failure>;
}

export interface VersionScorerDeps {
  readonly circuits: Circuits<ServedVersion>;
  readonly nowMs: () => number;
}

/**
 * Asks versions for scores and takes no other way out than a score or a reason per row: a version is not asked while its
 * circuit is open or a mandatory feature is missing, and not waited for beyond its time. A rule is always asked: it is the
 * last that can be.
 */
export class VersionScorer {
  readonly #circuits: Circuits<ServedVersion>;
  readonly #nowMs: () => number;
  readonly #underWay = new WeakMap<ServedVersion, number>();

  constructor({ circuits, nowMs }: VersionScorerDeps) {
    this.#circuits = circuits;
    this.#nowMs = nowMs;
  }

  /** Never rejects. */
  async score(served: ServedVersion, matrix: FeatureMatrix, rows: number): Promise<VersionScores> {
    const refused = refusals(served, matrix, rows);
    const asked = rows - refused.size;
    if (asked === 0) return { scores: new Float64Array(rows).fill(NaN), failures: refused };
    const isRule = served.kind === 'rule';
    const circuit = isRule ? null : this.#circuits.of(served);
    if (refused.size === 0) return this.#ask(served, circuit, matrix.values, rows);
    const kept = Array.from({ length: rows }, (_, i) => i).filter((row) => !refused.has(row));
    const some = await this.#ask(served, circuit, pick(matrix.values, kept, served.scorer.featureCount), asked);
    return spread(some, kept, rows, refused);
  }

  /**
   * For a client's own tensors: they come down no ladder, say nothing of how the version does, and a NaN is an answer.
   * @throws SerinError OVERLOADED when the version does not come back in time, or is still busy with what came before
   */
  async scoreTensors(served: ServedVersion, features: Float64Array, rows: number): Promise<RowScores> {
    const circuit = this.#circuits.of(served);
    const result = circuit.isLate ? null : await this.#call(served, circuit, features, rows);
    if (result !== null) return result;
    const { model, version, timeoutMs } = served;
    throw new SerinError('OVERLOADED', `${model} v${version} has not come back from a call within ${timeoutMs} ms`);
  }

  async #ask(
    served: ServedVersion,
    circuit: Circuit | null,
    features: Float64Array,
    rows: number,
  ): Promise<VersionScores> {
    if (circuit === null) return judged(await scoreRows(served.scorer, features, rows), rows);
    const startMs = this.#nowMs();
    const underWay = this.#underWay.get(served) ?? 0;
    if (underWay + rows > MAX_ROWS_UNDER_WAY && underWay > 0)
      return none(rows, 'timeout', `it has ${underWay} rows under way already`);
    if (!circuit.admit(startMs)) return none(rows, 'circuit_open', refusalOf(circuit.state(startMs)));
    const result = await this.#call(served, circuit, features, rows);
    if (result === null) {
      circuit.record(this.#nowMs(), 1);
      return none(rows, 'timeout', `it did not compute within ${served.timeoutMs} ms`);
    }
    const scores = judged(result, rows);
    const nowMs = this.#nowMs();
    // what is here is used, however late: it could not be waited for any shorter, since it held the thread
    const isLate = nowMs - startMs > (served.timeoutMs ?? Infinity);
    circuit.record(nowMs, isLate ? 1 : scores.failures.size / rows);
    return scores;
  }

  /** Null when it does not come back in time; then nobody asks until it has. */
  async #call(
    served: ServedVersion,
    circuit: Circuit,
    features: Float64Array,
    rows: number,
  ): Promise<RowScores | null> {
    const { scorer, timeoutMs = Infinity } = served;
    const patience = { untilMs: this.#nowMs() + timeoutMs, nowMs: this.#nowMs };
    const calling = scoreRows(scorer, features, rows, patience);
    // what computes on this thread is here before a timer could go off
    if (scorer.offLoop !== true) return calling;
    this.#underWay.set(served, (this.#underWay.get(served) ?? 0) + rows);
    const result = timeoutMs === Infinity ? await calling : await within(timeoutMs, calling);
    if (result !== null) {
      this.#ended(served, rows);
      return result;
    }
    circuit.late();
    void calling.then(() => {
      circuit.returned();
      this.#ended(served, rows);
    });
    return null;
  }

  #ended(served: ServedVersion, rows: number): void {
    this.#underWay.set(served, this.#underWay.get(served)! - rows);
  }
}

const NO_FAILURES: ReadonlyMap<number, Failure> = new Map();

/** Rows that a version is not asked about: their state cannot be read, or a mandatory feature is missing. */
function refusals(
  { mandatory = NONE, featureNames, scorer }: ServedVersion,
  { failures, statuses }: FeatureMatrix,
  rows: number,
): ReadonlyMap<number, Failure> {
  if (failures.size === 0 && mandatory.length === 0) return NO_FAILURES;
  const refused = new Map<number, Failure>();
  for (const [row, message] of failures) refused.set(row, { reason: 'error', message });
  for (let row = 0; row < rows; row++) {
    if (refused.has(row)) continue;
    const missing = mandatory.find((column) => isMissing(statuses[row * scorer.featureCount + column]!));
    if (missing === undefined) continue;
    const status = FEATURE_STATUSES[statuses[row * scorer.featureCount + missing]!]!.replace('_', ' ');
    refused.set(row, { reason: 'missing_feature', message: `${featureNames[missing]!} is ${status}` });
  }
  return refused;
}

const NONE: readonly number[] = [];

/**
 * `defaulted` is not missing: the key has live events, and the author of the feature has said what stands for nothing among
 * them. Where there are none, or they are too old, the default does not help.
 */
function isMissing(status: number): boolean {
  const name = FEATURE_STATUSES[status];
  return name !== 'present' && name !== 'defaulted';
}

function refusalOf(state: string): string {
  return state === 'half_open'
    ? 'it failed too often just now and is being tried by another batch'
    : 'it failed too often just now, or has not come back from a call, and is left alone for a moment';
}

function none(rows: number, reason: FallbackReason, message: string): VersionScores {
  const failures = new Map<number, Failure>();
  const failure = { reason, message };
  for (let row = 0; row < rows; row++) failures.set(row, failure);
  return { scores: new Float64Array(rows).fill(NaN), failures };
}

/** A score that is no number is no answer. */
function judged({ scores, errors }: RowScores, rows: number): VersionScores {
  let failures: Map<number, Failure> | null = null;
  for (let row = 0; row < rows; row++) {
    const score = scores[row];
    if (Number.isFinite(score)) continue;
    const error = errors.get(row);
    failures ??= new Map();
    failures.set(
      row,
      error ? { reason: 'error', message: error.message } : { reason: 'not_finite', message: `the score is ${score}` },
    );
  }
  return { scores, failures: failures ?? NO_FAILURES };
}

function pick(values: Float64Array, rows: readonly number[], width: number): Float64Array {
  const picked = new Float64Array(rows.length * width);
  rows.forEach((row, i) => picked.set(values.subarray(row * width, (row + 1) * width), i * width));
  return picked;
}

/** The scores of some rows among all of them. */
function spread(
  some: VersionScores,
  kept: readonly number[],
  rows: number,
  refused: ReadonlyMap<number, Failure>,
): VersionScores {
  const scores = new Float64Array(rows).fill(NaN);
  const failures = new Map(refused);
  kept.forEach((row, i) => {
    scores[row] = some.scores[i]!;
    const failure = some.failures.get(i);
    if (failure) failures.set(row, failure);
  });
  return { scores, failures };
}
