import { armOf, bucketOf } from '../../domain/rollout/assignment.ts';
import type { FeatureKnowledge } from '../../db/predictions.ts';
import { SerinError } from '../../domain/errors.ts';
import type { ServedVersion } from '../model/served-version.ts';
import type { RouteEntry, Rung, RungName } from '../routing/route-entry.ts';
import type { Accounting, Answer, Instance } from './answer.ts';
import type { FeatureBatchReader, FeatureGroup, FeatureMatrix } from './feature-batch.ts';
import { requestFor } from './request-for.ts';
import { scoreMatrix } from './score-rows.ts';
import { scoreTensors, type TensorWork } from './score-tensors.ts';
import type { ShadowJob, ShadowRunner } from './shadow-runner.ts';

/** A predict request waiting for its batch. */
export interface PredictWork {
  readonly kind: 'predict';
  readonly rows: number;
  readonly model: string;
  readonly instances: readonly Instance[];
  /** `performance.now()` when the request arrived. */
  readonly arrivedMs: number;
  resolve(answers: readonly Answer[]): void;
  reject(error: unknown): void;
}

export type Work = PredictWork | TensorWork;

export interface PredictorDeps {
  /** The route entry in force, read once per batch. */
  readonly entryOf: (model: string) => RouteEntry | undefined;
  readonly features: FeatureBatchReader;
  readonly accounting: Accounting;
  readonly shadows: ShadowRunner;
}

/** A row on its way down the ladder. */
interface Row {
  readonly instance: Instance;
  readonly entry: RouteEntry;
  readonly arm: 'champion' | 'canary';
  readonly ladder: readonly Rung[];
  /** The rung it stands on; past the last one it gets the constant. */
  rung: number;
  answeredBy: RungName;
  score: number;
  features: Float64Array;
  known: FeatureKnowledge | null;
  error: string | null;
}

interface Group {
  readonly served: ServedVersion;
  readonly rows: Row[];
  readonly features: FeatureGroup;
}

interface Asked {
  readonly work: PredictWork;
  readonly entry: RouteEntry;
  readonly rows: readonly Row[];
}

/**
 * Answers batches. The whole batch sees one routing table; its rows are grouped by the version that is to answer them,
 * the features of all groups come in one read, each version computes once. A row whose version fails goes down its
 * ladder (arm, champion, last known good, rule, constant) and takes no other row with it.
 */
export class Predictor {
  readonly #deps: PredictorDeps;

  constructor(deps: PredictorDeps) {
    this.#deps = deps;
  }

  /** Settles every piece of work; never rejects. */
  async run(batch: readonly Work[]): Promise<void> {
    try {
      const tensors = batch.filter((work) => work.kind === 'tensor');
      const asked = this.#assign(batch);
      if (tensors.length > 0) await scoreTensors(tensors);
      if (asked.length > 0) await this.#predict(asked);
    } catch (error) {
      for (const work of batch) work.reject(error);
    }
  }

  #assign(batch: readonly Work[]): Asked[] {
    const asked: Asked[] = [];
    for (const work of batch) {
      if (work.kind === 'tensor') continue;
      const entry = this.#deps.entryOf(work.model);
      if (!entry) {
        work.reject(
          new SerinError('MODEL_NOT_FOUND', `there is no model "${work.model}" here`, {
            fields: { model: work.model },
          }),
        );
        continue;
      }
      asked.push({ work, entry, rows: work.instances.map((instance) => rowOf(entry, instance)) });
    }
    return asked;
  }

  async #predict(asked: readonly Asked[]): Promise<void> {
    const startMs = performance.now();
    const rows = asked.flatMap((each) => each.rows);
    const shadowed = this.#deps.shadows.choose(
      asked.map(({ entry, rows }) => ({ entry, instances: rows.map((row) => row.instance) })),
    );
    const { shadowFeatures, featuresMs } = await this.#climb(rows, shadowed);
    this.#deps.accounting.batchDone(rows.length, featuresMs / 1e3, (performance.now() - startMs - featuresMs) / 1e3);

    const answersByEntry = new Map<RouteEntry, Answer[]>();
    for (const { work, entry, rows: own } of asked) {
      const answers = own.map(answerOf);
      work.resolve(answers);
      this.#deps.accounting.answered(entry, answers, performance.now() - work.arrivedMs);
      if (entry.shadow) append(answersByEntry, entry, answers);
    }
    this.#deps.shadows.submit(shadowed, shadowFeatures, answersByEntry);
  }

  /** Brings every row to an answer, a rung at a time; nearly always the first one answers all. */
  async #climb(
    rows: readonly Row[],
    shadowed: readonly ShadowJob[],
  ): Promise<{ shadowFeatures: FeatureMatrix[]; featuresMs: number }> {
    let waiting: readonly Row[] = rows;
    let shadowFeatures: FeatureMatrix[] = [];
    let storeFailed = false;
    let featuresMs = 0;
    let first = true;
    while (waiting.length > 0) {
      const groups = groupByVersion(waiting);
      const startMs = performance.now();
      let matrices: FeatureMatrix[];
      try {
        const wanted = groups.map(({ features }) => features);
        if (storeFailed) matrices = this.#deps.features.readWithoutStore(wanted);
        else
          matrices = await this.#deps.features.read(first ? [...wanted, ...shadowed.map((job) => job.group)] : wanted);
        if (first) shadowFeatures = matrices.slice(groups.length);
      } catch (error) {
        first = false;
        if (storeFailed) for (const row of waiting) descend(row, messageOf(error));
        else for (const row of waiting) descendToRule(row, messageOf(error));
        storeFailed = true;
        waiting = stillWaiting(waiting);
        continue;
      } finally {
        featuresMs += performance.now() - startMs;
      }
      first = false;
      await Promise.all(groups.map((group, i) => scoreGroup(group, matrices[i]!)));
      waiting = stillWaiting(waiting);
    }
    return { shadowFeatures, featuresMs };
  }
}

function rowOf(entry: RouteEntry, instance: Instance): Row {
  const { route } = entry;
  const arm =
    entry.canary !== null && armOf(bucketOf(route.salt, instance.unit), route.canaryWeight / 100) === 'canary'
      ? 'canary'
      : 'champion';
  return {
    instance,
    entry,
    arm,
    ladder: entry.ladders[arm],
    rung: 0,
    answeredBy: 'constant',
    score: NaN,
    features: new Float64Array(0),
    known: null,
    error: null,
  };
}

/** Groups rows by the version they stand on; a row that does not fit that version's feature set goes on down at once. */
function groupByVersion(rows: readonly Row[]): Group[] {
  const groups: Group[] = [];
  for (const row of rows) {
    for (let placed = false; !placed && row.rung < row.ladder.length;) {
      const { served } = row.ladder[row.rung]!;
      try {
        const request = requestFor(served, row.entry.champion, row.instance);
        let group = groups.find((each) => each.served === served);
        if (!group) groups.push((group = { served, rows: [], features: { input: served.input, rows: [] } }));
        group.rows.push(row);
        group.features.rows.push({ request, asOf: row.instance.asOf });
        placed = true;
      } catch (error) {
        descend(row, messageOf(error));
      }
    }
  }
  return groups;
}

async function scoreGroup({ served, rows }: Group, features: FeatureMatrix): Promise<void> {
  const scores = await scoreMatrix(served.scorer, features, rows.length);
  const width = served.scorer.featureCount;
  const knownSeq = features.knownSeq === null ? null : Object.fromEntries(features.knownSeq);
  for (let i = 0; i < rows.length; i++) {
    const row = rows[i]!;
    row.known = knownSeq === null ? null : { knownSeq, readAt: features.readAt[i]! };
    row.features = features.values.subarray(i * width, (i + 1) * width);
    const score = scores[i]!;
    if (typeof score !== 'number') {
      descend(row, score.message);
      continue;
    }
    row.score = score;
    row.answeredBy = row.ladder[row.rung]!.name;
  }
}

/** A row past its last rung keeps the constant. */
function stillWaiting(rows: readonly Row[]): Row[] {
  return rows.filter((row) => Number.isNaN(row.score) && row.rung < row.ladder.length);
}

function descend(row: Row, error: string): void {
  row.error ??= `${nameOf(row)}: ${error}`;
  row.rung++;
}

/** Without stored features only the rule can still say something of its own. */
function descendToRule(row: Row, error: string): void {
  row.error ??= `${nameOf(row)}: ${error}`;
  row.rung = row.ladder.length - 1;
}

function nameOf({ ladder, rung }: Row): string {
  const { served } = ladder[rung]!;
  return `v${served.version}`;
}

function answerOf({ instance, entry, arm, ladder, rung, score, features, known, error, answeredBy }: Row): Answer {
  const served = ladder[rung]?.served ?? entry.rule;
  const constant = Number.isNaN(score);
  const given = constant ? entry.constantScore : score;
  return {
    instance,
    arm,
    armVersion: ladder[0]!.served.version,
    version: served.version,
    rung: constant ? 'constant' : error !== null && served === entry.rule ? 'rule' : answeredBy,
    epoch: entry.route.epoch,
    score: given,
    label: given >= served.threshold ? 1 : 0,
    features,
    featureNames: served.featureNames,
    known,
    error,
  };
}

function append<K, V>(into: Map<K, V[]>, key: K, values: readonly V[]): void {
  const known = into.get(key);
  if (known) known.push(...values);
  else into.set(key, [...values]);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
