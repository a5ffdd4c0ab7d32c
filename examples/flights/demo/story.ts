/** The whole life of a model, step by step, by the public API alone. Each step says what happened and checks that it should have. */
import { setTimeout as delay } from 'node:timers/promises';
import { MICROS_PER_DAY, MICROS_PER_HOUR } from '../../../domain/time.ts';
import type { EmbeddedPlatform } from '../../../platform/embedded/embedded-platform.ts';
import { type FlightFiles, type Month, prepareFlightFiles, readReplay } from '../data.ts';
import { flightsProject } from '../project.ts';
import { JuneReplay } from './june-replay.ts';
import { PlatformClient, ProblemAnswer } from './platform-client.ts';
import { interval, type Progress, whole } from './progress.ts';

export const MODEL = 'flight-delay';
const HISTORY: readonly Month[] = ['2001-01', '2001-02', '2001-03', '2001-04', '2001-05'];
const JUNE_STARTS_AT = Date.UTC(2001, 5, 1) * 1_000;
const JUNE_ENDS_AT = Date.UTC(2001, 6, 1) * 1_000;
const MORNING_MICROS = 12 * MICROS_PER_HOUR;
const POLL_MS = 150;
/** While nothing is being rolled out June goes by more slowly, so that there is enough of it for every rollout. */
const QUIET_SHARE = 0.3;
/** What each rollout may take of June before the rest goes by more slowly: it depends on the machine how long one is. */
const ROLLOUT_SECONDS = 40;
const ROLLOUTS = 3;
const OPERATION_TIMEOUT_MS = 10 * 60_000;

export interface StoryOptions {
  readonly platform: EmbeddedPlatform;
  readonly folder: string;
  readonly sample: number;
  /** Requests per second while a rollout is under way; the rest of June is played as fast as it goes. */
  readonly ratePerSecond: number;
  readonly progress: Progress;
}

interface Operation<T> {
  readonly workflowId: string;
  readonly status: 'running' | 'completed' | 'failed' | 'canceled' | 'terminated' | 'timedOut';
  readonly result?: T;
  readonly problem?: { readonly code: string; readonly detail: string };
  readonly links: { readonly temporal: string };
}

interface Run {
  readonly runId: string;
  readonly training: string;
  readonly status: 'running' | 'gated' | 'registered' | 'failed';
  readonly number: number;
  readonly version: number | null;
  readonly failure: string | null;
  readonly gateReport?: {
    readonly verdict: string;
    readonly results: readonly { readonly name: string; readonly verdict: string; readonly sentence: string }[];
  } | null;
}

interface TrainingOutcome {
  readonly runId: string;
  readonly number: number;
  readonly version: number | null;
  readonly verdict: string;
  readonly stoppedBy: readonly string[];
}

interface RolloutAnswer {
  readonly rolloutId: string;
  readonly phase: string;
  readonly stage: string;
  readonly details: string;
  readonly evidenceDigest: string | null;
  readonly links: { readonly temporal: string };
  readonly state: { readonly phase: string; readonly weightPercent?: number; readonly reason?: string };
  readonly looks: readonly {
    readonly verdict: string;
    readonly findings: readonly { readonly metric: string; readonly verdict: string; readonly sentence: string }[];
  }[];
}

export interface VersionStory {
  /** The number its run took up. */
  readonly number: number;
  readonly version: number | null;
  readonly training: string;
  readonly outcome: 'promoted' | 'rolledBack' | 'gated';
  readonly because: string;
  readonly offline: Quality | null;
  readonly link: string;
}

export interface Quality {
  readonly auc: Estimate | null;
  readonly logLoss: Estimate;
}

interface Estimate {
  readonly value: number;
  readonly low: number;
  readonly high: number;
}

export class Story {
  readonly #options: StoryOptions;
  readonly client: PlatformClient;
  readonly versions: VersionStory[] = [];
  /** What did not come out as it should have. */
  readonly surprises: string[] = [];
  replay: JuneReplay | undefined;
  #running: Promise<void> | undefined;
  /** From the first answer that v4 gave on reports in seconds to the last answer it gave at all. */
  harmMs: number | null = null;
  rollbackMs: number | null = null;

  constructor(options: StoryOptions) {
    this.#options = options;
    this.client = new PlatformClient(options.platform.apiUrl, options.platform.credentials);
  }

  async tell(): Promise<void> {
    const { progress } = this.#options;
    progress.step('Apply the project, ingest January to May');
    const files = await this.#prepare();
    await this.#ingest(files);

    progress.step('Version 1: logistic regression, against the rule baseline');
    const v1 = await this.#train('logistic');

    progress.step('Bring the online store up to date and play June');
    await this.#startReplay(files);
    if (v1.version !== null) await this.#rollOut('logistic', v1);

    progress.step('Version 2: gradient-boosted trees, trained and delivered in one go');
    await this.#deliver('boosted', 'promoted');

    progress.step('Version 3: a feature that sees the future');
    await this.#deliver('leaky', 'gated');

    progress.step('Version 4: sound offline, harmed by an upstream change of unit');
    await this.#deliver('with-airport-status', 'rolledBack', { harm: true });

    progress.step('The rest of June, as fast as it goes');
    await this.#finishReplay();
    await this.#verify();
  }

  async #prepare(): Promise<FlightFiles> {
    const { folder, sample, progress } = this.#options;
    const files = await prepareFlightFiles(folder, sample);
    progress.line(`3,000,000 flights of 2001 are in six files${sample < 1 ? ` (a ${sample * 100} % sample)` : ''}`);
    const spec = flightsProject({ sample });
    const { digest } = await this.client.post<{ digest: string }>('engineer', '/v1/projects', { spec });
    progress.line(
      `project flights ${digest.slice(0, 12)}: ${spec.sources.length} sources, ${spec.views.length} feature views, ${spec.featureSets.length} feature sets, 1 model`,
    );
    return files;
  }

  async #ingest(files: FlightFiles): Promise<void> {
    let accepted = 0;
    const reasons = new Map<string, number>();
    const batches = [
      ...HISTORY.map((month) => ({ source: 'flights', month, path: files.flights[month] })),
      ...HISTORY.map((month) => ({ source: 'airport_status', month, path: files.airportStatus[month] })),
      { source: 'flights_scheduled', month: '2001-05' as const, path: files.flights['2001-05'] },
    ];
    for (const { source, month, path } of batches) {
      const result = await this.#operation<{
        rowsIn: number;
        rowsAccepted: number;
        quarantined: Record<string, number>;
      }>(`/v1/sources/${source}/batches`, { batchId: month, path, format: 'parquet' });
      accepted += result.rowsAccepted;
      for (const [reason, rows] of Object.entries(result.quarantined))
        reasons.set(reason, (reasons.get(reason) ?? 0) + rows);
      const aside = result.rowsIn - result.rowsAccepted;
      this.#options.progress.line(
        `${source} ${month}: ${whole(result.rowsAccepted)} events${aside > 0 ? `, ${aside} set aside` : ''}`,
      );
    }
    const why = [...reasons].map(([reason, rows]) => `${reason} ${rows}`).join(', ');
    this.#options.progress.line(`${whole(accepted)} events in the log; set aside with their reasons: ${why || 'none'}`);
  }

  async #train(training: string): Promise<TrainingOutcome> {
    const { runId } = await this.#operation<{ runId: string }>(`/v1/models/${MODEL}/runs`, { training });
    const outcome = await this.#outcomeOf(runId);
    await this.#tellRun(outcome);
    return outcome;
  }

  async #tellRun({ runId, number, version, stoppedBy }: TrainingOutcome): Promise<Quality | null> {
    const { progress } = this.#options;
    const run = await this.client.get<{
      dataset: string | null;
      result: {
        trainRows?: number;
        trainSeconds?: number;
        evaluation?: Quality & { comparison: { aucDifference: (Estimate & { p: number }) | null } | null };
        comparedWith?: number;
        serving?: { latencyMsP99: number; parityMaxAbsDifference: number };
      } | null;
    }>('viewer', `/v1/runs/${runId}`);
    const { evaluation, serving, trainRows, trainSeconds, comparedWith } = run.result ?? {};
    progress.line(`v${number}: run ${runId} on dataset ${run.dataset?.slice(0, 12) ?? 'none'}`);
    if (evaluation !== undefined) {
      progress.line(
        `trained on ${whole(trainRows ?? 0)} rows in ${(trainSeconds ?? 0).toFixed(1)} s; May: AUC ${evaluation.auc === null ? 'unknown' : interval(evaluation.auc)}, log loss ${interval(evaluation.logLoss)}`,
      );
      const difference = evaluation.comparison?.aucDifference;
      if (difference)
        progress.line(
          `against v${comparedWith} on the same rows: AUC ${difference.value >= 0 ? '+' : ''}${interval(difference)}, p = ${difference.p.toExponential(1)}`,
        );
    }
    if (serving !== undefined)
      progress.line(
        `through the real server: p99 ${serving.latencyMsP99.toFixed(2)} ms, served and trained scores differ by at most ${serving.parityMaxAbsDifference.toExponential(1)}`,
      );
    if (version === null) for (const sentence of stoppedBy) progress.line(`v${number} is stopped by ${sentence}`);
    else progress.line(`passed its gates and is ${MODEL} v${version}`);
    return evaluation ?? null;
  }

  async #startReplay(files: FlightFiles): Promise<void> {
    const { progress, platform, folder, ratePerSecond } = this.#options;
    const started = Date.now();
    const { views } = await this.#operation<{ views: { viewId: string; keys: number; events: number }[] }>(
      '/v1/features/materializations',
      {
        project: 'flights',
        foldAt: new Date(JUNE_STARTS_AT / 1_000 - 3_600_000).toISOString(),
      },
    );
    progress.line(
      `${whole(views.reduce((sum, { keys }) => sum + keys, 0))} keys of ${views.length} views in the online store in ${((Date.now() - started) / 1_000).toFixed(1)} s`,
    );
    await this.client.put('engineer', `/v1/models/${MODEL}/monitor`);
    this.replay = new JuneReplay({
      client: this.client,
      inferenceUrl: platform.inferenceUrl,
      model: MODEL,
      replay: await readReplay(files, folder),
      startAt: JUNE_STARTS_AT,
      stepMicros: MICROS_PER_HOUR,
      endAt: JUNE_ENDS_AT,
    });
    this.replay.setRate(Infinity);
    this.#running = this.replay.run();
    // a failure of the replay is told at its end; until then it must not end the process
    this.#running.catch(() => undefined);
    // a rollout that begins before dawn would judge a version by a few early flights, all alike
    while (this.replay.clockAt < JUNE_STARTS_AT + MORNING_MICROS && !this.replay.broken) await delay(POLL_MS);
    this.replay.setRate(ratePerSecond * QUIET_SHARE);
    progress.line('June has begun: departures are asked about, landings become events and outcomes');
  }

  async #rollOut(training: string, trained: TrainingOutcome): Promise<void> {
    const { version } = trained;
    await this.client.post('engineer', `/v1/models/${MODEL}/rollouts`, { version });
    await this.#follow(version!, training, await this.#offlineOf(trained), 'promoted', {});
  }

  async #deliver(
    training: string,
    expected: VersionStory['outcome'],
    { harm = false }: { harm?: boolean } = {},
  ): Promise<void> {
    const started = await this.client.post<Operation<unknown>>('engineer', `/v1/models/${MODEL}/deliveries`, {
      training,
    });
    const trained = await this.#trainingOf(started.workflowId, training);
    const offline = await this.#tellRun(trained);
    if (trained.version === null) {
      this.#conclude(
        {
          number: trained.number,
          version: null,
          training,
          outcome: 'gated',
          because: trained.stoppedBy[0] ?? 'a gate',
          offline,
          link: started.links.temporal,
        },
        expected,
      );
      return;
    }
    await this.#follow(trained.version, training, offline, expected, { harm });
  }

  /** Waits until the run of a delivery is over: registered, or stopped by its gates. */
  async #trainingOf(workflowId: string, training: string): Promise<TrainingOutcome> {
    const deadlineMs = Date.now() + OPERATION_TIMEOUT_MS;
    for (;;) {
      const { runs } = await this.client.get<{ runs: readonly Run[] }>('viewer', `/v1/runs?model=${MODEL}&limit=1`);
      const [run] = runs;
      if (run?.training === training && run.status !== 'running') return this.#outcomeOf(run.runId);
      if (Date.now() > deadlineMs) throw new Error(`the delivery ${workflowId} did not finish its training`);
      await delay(POLL_MS);
    }
  }

  async #outcomeOf(runId: string): Promise<TrainingOutcome> {
    const { status, number, version, failure, gateReport } = await this.client.get<Run>('viewer', `/v1/runs/${runId}`);
    if (status === 'failed') throw new Error(`the run ${runId} failed: ${failure ?? 'no reason given'}`);
    const stoppedBy = (gateReport?.results ?? [])
      .filter(({ verdict }) => verdict !== 'pass')
      .map(({ name, verdict, sentence }) => `${name} (${verdict}): ${sentence}`);
    return { runId, number, version, verdict: gateReport?.verdict ?? 'pass', stoppedBy };
  }

  async #offlineOf({ runId }: TrainingOutcome): Promise<Quality | null> {
    const { result } = await this.client.get<{ result: { evaluation?: Quality } | null }>(
      'viewer',
      `/v1/runs/${runId}`,
    );
    return result?.evaluation ?? null;
  }

  /** Stays with a rollout to its end, as its engineer and its approver would. */
  async #follow(
    version: number,
    training: string,
    offline: Quality | null,
    expected: VersionStory['outcome'],
    { harm = false }: { harm?: boolean },
  ): Promise<void> {
    const { progress } = this.#options;
    const path = `/v1/rollouts/${MODEL}/${version}`;
    let label = '';
    let harmed = false;
    const deadlineMs = Date.now() + OPERATION_TIMEOUT_MS;
    for (;;) {
      this.#pace();
      const rollout = await this.client.get<RolloutAnswer>('viewer', path).catch((error: unknown) => {
        if (error instanceof ProblemAnswer && error.code === 'ROLLOUT_NOT_FOUND') return null;
        throw error;
      });
      if (rollout !== null && rollout.stage !== label) {
        label = rollout.stage;
        progress.line(`v${version} ${label}`);
        if (harm && !harmed && /^\d+ %$/.test(label)) {
          harmed = true;
          this.replay?.changeUnitOfReports();
          progress.line('upstream: the airport reports now come in seconds instead of minutes; nobody was told');
        }
      }
      if (rollout?.phase === 'awaitingApproval' && !harm) await this.#approve(path, rollout, version);
      if (rollout?.phase === 'promoted' || rollout?.phase === 'rolledBack') {
        const because = rollout.state.reason ?? 'every stage passed';
        progress.line(
          rollout.phase === 'promoted' ? `v${version} is the champion` : `v${version} was rolled back: ${because}`,
        );
        if (rollout.phase === 'rolledBack') {
          for (const { sentence } of rollout.looks.at(-1)?.findings ?? [])
            progress.line(`  last evidence: ${sentence}`);
        }
        if (harm) this.#measureHarm(version);
        this.replay?.setRate(this.#options.ratePerSecond * QUIET_SHARE);
        this.#conclude(
          {
            number: version,
            version,
            training,
            outcome: rollout.phase,
            because,
            offline,
            link: rollout.links.temporal,
          },
          expected,
        );
        return;
      }
      if (Date.now() > deadlineMs || this.replay?.finished === true || this.replay?.broken === true) {
        throw new Error(`the rollout of v${version} did not end while June went on; it stands at ${label}`);
      }
      await delay(POLL_MS);
    }
  }

  /** As many requests a second as leave enough of June for the rollouts to come, however long this one takes. */
  #pace(): void {
    const { replay } = this;
    if (replay === undefined) return;
    const rolloutsLeft = ROLLOUTS - this.versions.filter(({ outcome }) => outcome !== 'gated').length;
    const affordable = replay.flightsLeft / (Math.max(1, rolloutsLeft) * ROLLOUT_SECONDS);
    replay.setRate(Math.min(this.#options.ratePerSecond, affordable));
  }

  async #approve(path: string, { evidenceDigest, looks }: RolloutAnswer, version: number): Promise<void> {
    const { progress } = this.#options;
    const command = { type: 'approve', evidenceDigest, reason: 'the evidence shows no harm' };
    try {
      await this.client.post('engineer', `${path}/commands`, command);
      this.surprises.push(`the author of v${version} could approve it`);
    } catch (error) {
      if (!(error instanceof ProblemAnswer)) throw error;
      progress.line(`its author asks to approve it: refused (${error.code})`);
    }
    for (const { sentence } of looks.at(-1)?.findings ?? []) progress.line(`  evidence: ${sentence}`);
    try {
      await this.client.post('approver', `${path}/commands`, command);
      progress.line('the approver approves it');
    } catch (error) {
      // evidence moves on while a person reads; they are shown the new one and decide again
      if (!(error instanceof ProblemAnswer) || (error.code !== 'APPROVAL_STALE' && error.code !== 'COMMAND_REFUSED'))
        throw error;
    }
  }

  #measureHarm(version: number): void {
    const { replay } = this;
    const firstHarmMs = replay?.firstHarmfulAnswerAtMs ?? null;
    const lastAnswerMs = replay?.versions.get(version)?.lastAnswerAtMs ?? null;
    if (firstHarmMs === null || lastAnswerMs === null) {
      this.surprises.push('v4 gave no answer on reports in seconds');
      return;
    }
    this.harmMs = Math.max(0, lastAnswerMs - firstHarmMs);
    this.#options.progress.line(
      `from its first answer on wrong reports to its last answer at all: ${(this.harmMs / 1_000).toFixed(2)} s`,
    );
  }

  #conclude(story: VersionStory, expected: VersionStory['outcome']): void {
    this.versions.push(story);
    if (story.outcome !== expected)
      this.surprises.push(`${story.training} was ${story.outcome}, ${expected} was expected: ${story.because}`);
  }

  async #finishReplay(): Promise<void> {
    const { progress } = this.#options;
    const { replay } = this;
    if (replay === undefined) return;
    replay.setRate(Infinity);
    const days = () => Math.floor((replay.clockAt - JUNE_STARTS_AT) / MICROS_PER_DAY);
    const timer = setInterval(
      () => progress.line(`30 June minus ${30 - days()} days, ${whole(replay.requests)} requests so far`),
      10_000,
    );
    try {
      await this.#running;
    } finally {
      clearInterval(timer);
    }
    progress.line(
      `${whole(replay.requests)} requests, ${replay.failures} failures, ${whole(replay.pushedEvents)} events pushed, ${whole(replay.outcomes)} outcomes posted`,
    );
    if (replay.failures > 0)
      this.surprises.push(`${replay.failures} requests failed, the first: ${replay.firstFailure}`);
  }

  async #verify(): Promise<void> {
    const audit = await this.client.get<{ records: number; head: string }>('viewer', '/v1/audit/verify');
    this.#options.progress.line(`the decision log holds: ${audit.records} records, head ${audit.head.slice(0, 12)}`);
  }

  async #operation<T>(path: string, body: object): Promise<T> {
    const started = await this.client.post<Operation<T>>('engineer', path, body);
    const deadlineMs = Date.now() + OPERATION_TIMEOUT_MS;
    for (let operation = started; ;) {
      if (operation.status === 'completed') return operation.result as T;
      if (operation.status !== 'running')
        throw new Error(
          `${operation.workflowId} ${operation.status}: ${operation.problem?.detail ?? 'no reason given'}`,
        );
      if (Date.now() > deadlineMs) throw new Error(`${operation.workflowId} did not finish`);
      await delay(POLL_MS);
      operation = await this.client.get<Operation<T>>(
        'viewer',
        `/v1/operations/${encodeURIComponent(operation.workflowId)}`,
      );
    }
  }
}
