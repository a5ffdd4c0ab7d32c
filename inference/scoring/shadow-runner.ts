import type { RouteEntry } from '../routing/route-entry.ts';
import type { Accounting, Answer, Instance, ShadowScore } from './answer.ts';
import type { FeatureGroup, FeatureMatrix } from './feature-batch.ts';
import { requestFor } from './request-for.ts';
import { scoreMatrix } from './score-rows.ts';

export interface ShadowDeps {
  readonly accounting: Accounting;
  /** Rows waiting for an answer; with more than `maxQueuedRows` of them the shadow gives way. */
  readonly queuedRows: () => number;
  readonly maxQueuedRows: number;
  /** Rows that may wait for their shadow score; what comes beyond is dropped. */
  readonly maxWaitingRows: number;
}

/** The instances of one batch that the shadow of one model is to score too. */
export interface ShadowJob {
  readonly entry: RouteEntry;
  readonly instances: readonly Instance[];
  /** Why the shadow cannot take an instance, by position; null: it can. */
  readonly refusals: readonly (string | null)[];
  /** The instances it can take: their features come with the batch's one read. */
  readonly group: FeatureGroup;
}

/**
 * Scores the shadow version on what was just answered, after the answers have gone out and only while nobody waits.
 * Nothing a shadow does reaches a client; under pressure it is the first to be dropped.
 */
export class ShadowRunner {
  readonly #deps: ShadowDeps;
  #waitingRows = 0;

  constructor(deps: ShadowDeps) {
    this.#deps = deps;
  }

  /** Picks the shadow work of a batch, before its features are read. */
  choose(asked: readonly { readonly entry: RouteEntry; readonly instances: readonly Instance[] }[]): ShadowJob[] {
    const byEntry = new Map<RouteEntry, Instance[]>();
    for (const { entry, instances } of asked) {
      if (!entry.shadow) continue;
      const known = byEntry.get(entry);
      if (known) known.push(...instances);
      else byEntry.set(entry, [...instances]);
    }
    const jobs: ShadowJob[] = [];
    for (const [entry, instances] of byEntry) {
      if (this.#isBusy(instances.length)) this.#deps.accounting.shadowDropped(entry, instances.length);
      else jobs.push(jobOf(entry, instances));
    }
    return jobs;
  }

  /**
   * @param features by position of the job; empty when the batch's read failed, and then there is no shadow
   * @param answers of each entry, in the order of the job's instances
   */
  submit(
    jobs: readonly ShadowJob[],
    features: readonly FeatureMatrix[],
    answers: ReadonlyMap<RouteEntry, readonly Answer[]>,
  ): void {
    jobs.forEach((job, i) => {
      const matrix = features[i];
      if (!matrix) {
        this.#deps.accounting.shadowDropped(job.entry, job.instances.length);
        return;
      }
      this.#waitingRows += job.instances.length;
      // two turns later the sockets of the answers have been written
      setImmediate(() => setImmediate(() => void this.#score(job, matrix, answers.get(job.entry)!)));
    });
  }

  async #score(job: ShadowJob, features: FeatureMatrix, answers: readonly Answer[]): Promise<void> {
    this.#waitingRows -= job.instances.length;
    const { entry, group, refusals } = job;
    if (this.#deps.queuedRows() > this.#deps.maxQueuedRows) {
      this.#deps.accounting.shadowDropped(entry, job.instances.length);
      return;
    }
    const shadow = entry.shadow!;
    const width = shadow.scorer.featureCount;
    const scores = await scoreMatrix(shadow.scorer, features, group.rows.length);
    let taken = 0;
    const results = answers.map((answer, i): ShadowScore => {
      const refusal = refusals[i];
      if (typeof refusal === 'string') return failure(answer, shadow.version, refusal, new Float64Array(0));
      const at = taken++;
      const score = scores[at]!;
      const own = features.values.subarray(at * width, (at + 1) * width);
      if (typeof score !== 'number') return failure(answer, shadow.version, score.message, own);
      return {
        answer,
        version: shadow.version,
        score,
        label: score >= shadow.threshold ? 1 : 0,
        features: own,
        error: null,
      };
    });
    this.#deps.accounting.shadowScored(entry, results);
  }

  #isBusy(rows: number): boolean {
    return this.#deps.queuedRows() > this.#deps.maxQueuedRows || this.#waitingRows + rows > this.#deps.maxWaitingRows;
  }
}

function jobOf(entry: RouteEntry, instances: readonly Instance[]): ShadowJob {
  const shadow = entry.shadow!;
  const group: FeatureGroup = { input: shadow.input, rows: [] };
  const refusals = instances.map((instance) => {
    try {
      group.rows.push({ request: requestFor(shadow, entry.champion, instance), asOf: instance.asOf });
      return null;
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  });
  return { entry, instances, refusals, group };
}

function failure(answer: Answer, version: number, error: string, features: Float64Array): ShadowScore {
  return { answer, version, score: NaN, label: 0, features, error };
}
