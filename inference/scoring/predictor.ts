import { messageOf, SerinError } from '../../domain/errors.ts';
import type { QueuedWork } from '../batching/micro-batcher.ts';
import type { TraceContext } from '../../platform/trace-context.ts';
import type { ServedVersion } from '../model/served-version.ts';
import type { RouteEntry } from '../routing/route-entry.ts';
import type { Accounting, Answer, Instance } from './answer.ts';
import type { BatchRead, FeatureBatchReader, FeatureGroup, FeatureMatrix } from './feature-batch.ts';
import { Assigner } from './ladder.ts';
import { replayRefusal } from './replay.ts';
import { requestFor } from './request-for.ts';
import { answerOf, descend, isWaiting, noteFailure, type Row, rowOf, standingOf } from './row.ts';
import { scoreTensors, type TensorWork } from './score-tensors.ts';
import type { VersionScorer } from './score-version.ts';
import type { ShadowJob, ShadowRunner } from './shadow-runner.ts';

/** A predict request waiting for its batch. */
export interface PredictWork extends QueuedWork {
  readonly kind: 'predict';
  readonly model: string;
  readonly instances: readonly Instance[];
  /** `performance.now()` when the request arrived. */
  readonly arrivedMs: number;
  /** That the request belongs to; absent: none. */
  readonly trace?: TraceContext | undefined;
  resolve(answers: readonly Answer[]): void;
}

export type Work = PredictWork | TensorWork;

export interface PredictorDeps {
  /** The route entry in force, read once per batch. */
  readonly entryOf: (model: string) => RouteEntry | undefined;
  readonly features: FeatureBatchReader;
  readonly scorer: VersionScorer;
  readonly accounting: Accounting;
  readonly shadows: ShadowRunner;
}

/** Rows of one version at the same moment. */
interface Group {
  readonly served: ServedVersion;
  readonly rows: Row[];
  readonly features: FeatureGroup;
}

interface Asked {
  readonly work: PredictWork;
  readonly entry: RouteEntry;
  readonly rows: readonly Row[];
  /** Null as long as one of its rows has none. */
  answers: readonly Answer[] | null;
}

interface Batch {
  readonly asked: readonly Asked[];
  /** Shadow work that has not been handed on yet. */
  shadowed: readonly ShadowJob[];
  /** Of each job, its features to be; absent: the batch's read failed, and then there is no shadow. */
  readonly shadowFeatures: Map<ShadowJob, () => FeatureMatrix>;
}

/**
 * Answers batches. The whole batch sees one routing table; its rows are grouped by the version that is to answer them,
 * the features of all groups come in one read, each version computes once. A row whose version fails goes down its
 * ladder (arm, champion, last known good, fallback model, rule, constant) and takes no other row with it. A request is
 * answered as soon as all of its rows are.
 */
export class Predictor {
  readonly #deps: PredictorDeps;
  readonly #assigner: Assigner;

  constructor(deps: PredictorDeps) {
    this.#deps = deps;
    this.#assigner = new Assigner(deps.entryOf);
  }

  /**
   * Settles every piece of work; never rejects. It waits for champions, wherever they compute; any other version that
   * computes in another thread answers its rows by itself, so that a slow canary holds up nobody else's.
   */
  async run(batch: readonly Work[]): Promise<void> {
    const tensors = batch.filter((work) => work.kind === 'tensor');
    try {
      const asked = this.#assign(batch);
      if (tensors.length === 0) await this.#predict(asked);
      else
        await Promise.all([
          scoreTensors(tensors, this.#deps.scorer),
          asked.length > 0 ? this.#predict(asked) : undefined,
        ]);
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
      const rows = work.instances.map((instance) => rowOf(entry, instance, this.#assigner.assign(entry, instance)));
      asked.push({ work, entry, rows, answers: null });
    }
    return asked;
  }

  async #predict(asked: readonly Asked[]): Promise<void> {
    const startMs = performance.now();
    for (const { work, entry, rows } of asked)
      this.#deps.accounting.queued(entry, standingOf(rows[0]!), (startMs - work.arrivedMs) / 1e3);
    const rows = asked.flatMap((each) => each.rows);
    const shadowed = this.#deps.shadows.choose(asked.map(({ entry, work }) => ({ entry, instances: work.instances })));
    const batch: Batch = { asked, shadowed, shadowFeatures: new Map() };
    await this.#climb(batch, rows, shadowed);
    this.#deps.accounting.batchDone(rows.length);
    this.#settle(batch);
  }

  /** Brings rows to an answer, a rung at a time; nearly always the first one answers all. */
  async #climb(batch: Batch, rows: readonly Row[], shadowed: readonly ShadowJob[] = []): Promise<void> {
    let storeFailure: string | null = null;
    let withShadows = shadowed;
    let waiting = rows;
    while (waiting.length > 0) {
      const groups = groupByVersion(waiting, storeFailure);
      let matrices: readonly FeatureMatrix[];
      const startMs = performance.now();
      try {
        matrices =
          storeFailure === null
            ? await this.#read(batch, groups, withShadows)
            : this.#deps.features.readWithoutStore(groups.map(({ features }) => features));
      } catch (error) {
        storeFailure = messageOf(error);
        continue;
      } finally {
        withShadows = [];
        const seconds = (performance.now() - startMs) / 1e3;
        for (const { rows: own } of groups) this.#deps.accounting.read(own[0]!.entry, standingOf(own[0]!), seconds);
      }
      waiting = await this.#scoreGroups(batch, groups, matrices);
      if (waiting.length > 0) this.#settle(batch);
    }
  }

  /** @returns the rows that have to go on */
  async #scoreGroups(
    batch: Batch,
    groups: readonly Group[],
    matrices: readonly FeatureMatrix[],
  ): Promise<readonly Row[]> {
    const waitedFor: Promise<void>[] = [];
    const rows: Row[] = [];
    groups.forEach((group, i) => {
      const scoring = this.#scoreGroup(group, matrices[i]!);
      if (isAside(group)) {
        this.#goOnAside(batch, group, scoring);
      } else {
        waitedFor.push(scoring);
        rows.push(...group.rows);
      }
    });
    await Promise.all(waitedFor);
    return rows.filter(isWaiting);
  }

  async #scoreGroup({ served, rows }: Group, matrix: FeatureMatrix): Promise<void> {
    const startMs = performance.now();
    // before a row goes on down
    const by = standingOf(rows[0]!);
    const { scores, failures } = await this.#deps.scorer.score(served, matrix, rows.length);
    this.#deps.accounting.computed(rows[0]!.entry, by, (performance.now() - startMs) / 1e3);
    const width = served.scorer.featureCount;
    const knownSeq = matrix.knownSeq === null ? null : Object.fromEntries(matrix.knownSeq);
    for (let i = 0; i < rows.length; i++) {
      const row = rows[i]!;
      row.known = knownSeq === null ? null : { knownSeq, readAt: matrix.readAt[i]! };
      row.features = matrix.values.subarray(i * width, (i + 1) * width);
      row.statuses = matrix.statuses.subarray(i * width, (i + 1) * width);
      const failure = failures.get(i);
      if (failure === undefined) row.score = scores[i]!;
      else descend(row, failure);
    }
  }

  #goOnAside(batch: Batch, group: Group, scoring: Promise<void>): void {
    scoring
      .then(() => this.#climb(batch, group.rows.filter(isWaiting)))
      .then(() => this.#settle(batch))
      .catch((error: unknown) => {
        for (const { work, answers } of batch.asked) if (answers === null) work.reject(error);
      });
  }

  async #read(
    batch: Batch,
    groups: readonly Group[],
    shadowed: readonly ShadowJob[],
  ): Promise<readonly FeatureMatrix[]> {
    const wanted = groups.map(({ features }) => features);
    if (shadowed.length === 0) return (await this.#deps.features.read(wanted)).matrices;
    // a shadow with the champion's features needs no others
    const sharedWith = shadowed.map((job) => groups.findIndex((group) => hasFeaturesOf(group, job)));
    const own = shadowed.filter((_, i) => sharedWith[i] === -1);
    const read: BatchRead = await this.#deps.features.read(
      wanted,
      own.map(({ group }) => group),
    );
    shadowed.forEach((job, i) => {
      const shared = sharedWith[i]!;
      batch.shadowFeatures.set(job, shared === -1 ? read.later[own.indexOf(job)]! : () => read.matrices[shared]!);
    });
    return read.matrices;
  }

  /** Answers the requests of which every row has its answer, and hands on the shadow work of models that are through. */
  #settle(batch: Batch): void {
    for (const asked of batch.asked) {
      if (asked.answers !== null || asked.rows.some(isWaiting)) continue;
      const { work, entry } = asked;
      const answers = asked.rows.map(answerOf);
      asked.answers = answers;
      const refusal = replayRefusal(answers);
      if (refusal !== null) {
        work.reject(refusal);
        continue;
      }
      work.resolve(answers);
      this.#deps.accounting.answered(entry, answers, performance.now() - work.arrivedMs, work.trace);
    }
    if (batch.shadowed.length === 0) return;
    batch.shadowed = batch.shadowed.filter((job) => {
      const own = batch.asked.filter(({ entry }) => entry === job.entry);
      if (own.some(({ answers }) => answers === null)) return true;
      this.#deps.shadows.submit(
        job,
        batch.shadowFeatures.get(job) ?? null,
        own.flatMap(({ answers }) => answers!),
      );
      return false;
    });
  }
}

/** Groups rows by the version they stand on; a row that the version cannot take goes on down at once. */
function groupByVersion(rows: readonly Row[], storeFailure: string | null): Group[] {
  const groups: Group[] = [];
  for (const row of rows) while (row.rung < row.ladder.length && !place(row, groups, storeFailure));
  return groups;
}

function place(row: Row, groups: Group[], storeFailure: string | null): boolean {
  const { entry, instance } = row;
  const { served } = row.ladder[row.rung]!;
  let request: Instance['request'];
  try {
    request = requestFor(served, entry.champion, instance);
  } catch (error) {
    descend(row, { reason: 'refused_request', message: messageOf(error) });
    return false;
  }
  const features = { request, asOf: instance.asOf };
  if (storeFailure !== null && served.input.refsOf([features]).length > 0) {
    const failure = { reason: 'store_unavailable', message: storeFailure } as const;
    if (served.kind !== 'rule') {
      descend(row, failure);
      return false;
    }
    // what the request alone gives is enough for a rule to say something
    noteFailure(row, failure);
  }
  let group = groups.find((each) => each.served === served);
  if (!group) groups.push((group = { served, rows: [], features: { input: served.input, rows: [] } }));
  group.rows.push(row);
  group.features.rows.push(features);
  return true;
}

/** Whether the others go on without it: it computes in another thread and is not what the model is judged by. */
function isAside({ served, rows }: Group): boolean {
  return served.scorer.offLoop === true && served !== rows[0]!.entry.champion;
}

/** Whether the features of the group are those of the shadow's instances, row by row. */
function hasFeaturesOf({ rows, features }: Group, { entry, instances, group }: ShadowJob): boolean {
  return (
    features.input === group.input &&
    rows.length === instances.length &&
    group.rows.length === instances.length &&
    rows.every((row) => row.entry === entry)
  );
}
