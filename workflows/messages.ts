/** What workflows take in and give out, and the messages they answer: the types that the API and the tests share with them. */
import { defineQuery, defineSignal, defineUpdate } from '@temporalio/workflow';
import type { ScoreRequest } from '../domain/scoring/score-plan.ts';
import type { Micros } from '../domain/time.ts';
import {
  COMMANDS,
  type CommandType,
  type RolloutCommand,
  type RolloutSpec,
  type RolloutState,
} from '../domain/rollout/state.ts';

export const TASK_QUEUE_CONTROL = 'serin-control';
export const TASK_QUEUE_DATA = 'serin-data';
export const TASK_QUEUE_TRAINING = 'serin-training';

// ---- ingestSource -------------------------------------------------------------------------------------------------------

export interface IngestSourceInput {
  readonly source: string;
  readonly batchId: string;
  readonly input:
    | { readonly kind: 'file'; readonly path: string; readonly format: 'parquet' | 'csv' | 'jsonl' }
    /** What was pushed to the source and buffered, up to a sequence number. */
    | { readonly kind: 'pushed'; readonly upToSeq: number };
}

export interface IngestSourceResult {
  readonly rowsIn: number;
  readonly rowsAccepted: number;
  readonly quarantined: Readonly<Record<string, number>>;
  readonly lastSeq: number;
  /** The batch had been ingested before: nothing was done. */
  readonly alreadyThere: boolean;
  /** The log has come to have many files. Absent in what was recorded before logs were compacted. */
  readonly compactionDue?: boolean;
  /** Online views are in use that lack these rows. Absent in what was recorded before they were brought up to date. */
  readonly refreshDue?: boolean;
}

// ---- compactLog ---------------------------------------------------------------------------------------------------------

export interface CompactLogInput {
  readonly source: string;
}

export interface CompactLogResult {
  readonly filesMerged: number;
  /** Rows that were written, some of them more than once. */
  readonly rows: number;
  /** Of the log, now. */
  readonly files: number;
}

// ---- materializeFeatures ------------------------------------------------------------------------------------------------

export interface MaterializeFeaturesInput {
  readonly project: string;
  /** `name@version`; all views of the project when absent. */
  readonly views?: readonly string[];
  /** The instant up to which the state is folded: no read will ask for an earlier one. */
  readonly foldAt: Micros;
  /** Most keys of a view that are written in a second; absent: as fast as it goes. */
  readonly keysPerSecond?: number;
  /** In how many parts the keys of a view are built; absent: by the size of its log. */
  readonly parts?: number;
}

export interface MaterializeFeaturesResult {
  readonly views: readonly {
    readonly viewId: string;
    readonly keys: number;
    readonly events: number;
    /** Up to here events of the log are in it. */
    readonly appliedSeq: number;
    /** Keys that were held against the log before the view was put in place. */
    readonly checked: number;
  }[];
}

/** A view that is built anew in a shadow. */
export interface ShadowBuild {
  readonly project: string;
  /** `name@version` */
  readonly view: string;
  readonly shadowId: string;
  /** It is made of the log up to here. */
  readonly upToSeq: number;
  readonly foldAt: Micros;
}

export interface FilledShadow {
  readonly keys: number;
  readonly events: number;
  /** Of the removals of entities, when the log was read. */
  readonly generation: number;
}

/** 'outdated': an entity was forgotten since the log was read; the view is built again. */
export type ShadowVerdict = 'good' | 'outdated';

export type FillPlan = Pick<MaterializeFeaturesInput, 'keysPerSecond' | 'parts'>;

// ---- refreshViews -------------------------------------------------------------------------------------------------------

export interface RefreshViewsInput {
  readonly source: string;
}

export interface RefreshViewsResult {
  /** Each as often as it was built. */
  readonly views: readonly string[];
}

/** More rows came in a file: what is built now may lack them. */
export const rowsCameSignal = defineSignal('rowsCame');

// ---- buildDataset -------------------------------------------------------------------------------------------------------

export interface BuildDatasetInput {
  readonly project: string;
  readonly projectDigest: string;
  readonly model: string;
  readonly training: string;
}

export interface BuildDatasetResult {
  readonly digest: string;
  readonly rows: number;
  readonly trainRows: number;
  readonly testRows: number;
  readonly leakageFindings: number;
}

// ---- diffDatasets, explainRow, rebuildDataset -------------------------------------------------------------------------------------------

/** Whole digests. */
export interface DiffDatasetsInput {
  readonly before: string;
  readonly after: string;
}

export interface RebuildDatasetInput {
  /** A whole digest. */
  readonly dataset: string;
}

export interface RebuildDatasetResult {
  readonly dataset: string;
  /** The digest that came out. */
  readonly rebuilt: string;
  readonly same: boolean;
}

export interface ExplainRowInput {
  readonly dataset: string;
  /** Its `row_id`. */
  readonly row: number;
}

// ---- forgetEntity -------------------------------------------------------------------------------------------------------

/** Of a stored request: the key itself is in no history. Ends with a `ForgetReport`. */
export interface ForgetEntityInput {
  readonly requestId: string;
}

// ---- scoreBatch ---------------------------------------------------------------------------------------------------------

export interface ScoreBatchInput {
  readonly request: ScoreRequest;
  /** Rows of a part at most; absent: `SCORE_PART_ROWS`. */
  readonly partRows?: number;
}

export interface ScoreBatchResult {
  readonly output: string;
  readonly version: number;
  readonly rows: number;
  /** Rows for which the version gave no number. */
  readonly unscored: number;
  /** Rows of label 1. */
  readonly positives: number;
  readonly files: number;
  /** The folder held the answer to this very request: nothing was done. */
  readonly alreadyThere: boolean;
}

// ---- inferAsync ---------------------------------------------------------------------------------------------------------

/** Of a stored prediction: what is asked and answered is in no history. */
export interface InferAsyncInput {
  readonly id: string;
  readonly model: string;
  /** Whether the answer is delivered. */
  readonly callback: boolean;
  readonly keepSeconds: number;
  /** Headers that name the trace the request belonged to; absent: none. */
  readonly trace?: Readonly<Record<string, string>>;
}

export interface InferAsyncResult {
  readonly status: 'answered' | 'failed';
  /** null: nobody asked for it. */
  readonly delivered: boolean | null;
}

// ---- trainModel ---------------------------------------------------------------------------------------------------------

export interface TrainModelInput {
  readonly model: string;
  readonly training: string;
  readonly author: string;
}

export interface TrainModelResult {
  readonly runId: string;
  readonly dataset: string;
  readonly verdict: 'pass' | 'fail' | 'insufficient';
  /** The registered version; null when a gate stopped the run. */
  readonly version: number | null;
  /** One sentence per gate that did not pass. */
  readonly stoppedBy: readonly string[];
}

// ---- rolloutModel -------------------------------------------------------------------------------------------------------

export interface RolloutModelInput {
  readonly spec: RolloutSpec;
  /** Set by continue-as-new alone. */
  readonly carried?: RolloutCarried;
}

/** What a rollout takes with it into its next run. */
export interface RolloutCarried {
  readonly state: RolloutState;
  readonly looks: number;
  readonly epochs: readonly EpochWeight[];
  /** Records written so far: numbers their idempotency keys. */
  readonly records: number;
  /** The champion that the version replaced, once it has. */
  readonly replaced: number | null;
  readonly decidedCommands: readonly string[];
}

/** Under which canary share the nodes routed at an epoch: what evidence is weighted by. */
export interface EpochWeight {
  readonly epoch: number;
  readonly weightPercent: number;
}

export interface RolloutModelResult {
  readonly outcome: 'promoted' | 'rolledBack';
  readonly reason: string;
  readonly looks: number;
}

export interface CommandInput {
  /** Chosen by the caller: the same id again is the same command, also after a continue-as-new. */
  readonly commandId: string;
  readonly command: Omit<RolloutCommand, 'at'>;
}

export interface CommandResult {
  readonly phase: RolloutState['phase'];
  readonly details: string;
}

export const commandUpdates = Object.fromEntries(
  COMMANDS.map((name) => [name, defineUpdate<CommandResult, [CommandInput]>(name)]),
) as Record<CommandType, ReturnType<typeof defineUpdate<CommandResult, [CommandInput]>>>;

export interface RolloutView {
  readonly spec: RolloutSpec;
  readonly state: RolloutState;
  readonly looks: number;
  readonly details: string;
}

export const rolloutQuery = defineQuery<RolloutView>('rollout');

// ---- rollbackModel ------------------------------------------------------------------------------------------------------

export interface RollbackModelInput {
  readonly model: string;
  readonly actor: string;
  readonly reason: string;
  /** A rollout whose workflow is gone (terminated, or failed): its version is taken down and its row closed. */
  readonly abandonedRollout?: string;
}

export interface RollbackModelResult {
  readonly epoch: number;
  readonly champion: number;
  readonly replaced: number;
}

// ---- monitorModel -------------------------------------------------------------------------------------------------------

export interface MonitorModelInput {
  readonly model: string;
  /** Set by continue-as-new alone. */
  readonly carried?: MonitorStatus;
}

export interface MonitorStatus {
  readonly windows: number;
  readonly lastWindowEnd: Micros | null;
  readonly lastFindings: readonly string[];
}

export const monitorQuery = defineQuery<MonitorStatus>('monitor');

// ---- checkConsistency ---------------------------------------------------------------------------------------------------

export interface CheckConsistencyInput {
  readonly model: string;
  /** Absent: once, over the last hour. */
  readonly everyMs?: number;
  /** Set by continue-as-new alone. */
  readonly carried?: ConsistencyStatus;
}

export interface CheckConsistencyResult {
  readonly windowEnd: Micros;
  /** Logged answers of the window whose features were read from the store. */
  readonly checkable: number;
  /** Of them those that were held against the log: whole keys, drawn by their hash. */
  readonly checked: number;
  /** Values that are not those of the log. */
  readonly mismatches: number;
  readonly sentence: string;
}

export interface ConsistencyStatus {
  readonly looks: number;
  readonly last: CheckConsistencyResult | null;
  /** Why the last look failed; null: it did not. */
  readonly failure: string | null;
}

export const consistencyQuery = defineQuery<ConsistencyStatus>('consistency');

// ---- exportPredictions, findPrediction ----------------------------------------------------------------------------------

export interface ExportPredictionsInput {
  /** Absent: all. */
  readonly models?: readonly string[];
  /** Rows that were recorded before it, by the database's clock; absent: all so far. */
  readonly until?: Micros;
  /** Takes them out of the table once they are in Parquet. */
  readonly drop?: boolean;
}

export interface ExportedLog {
  readonly model: string;
  readonly rows: number;
  readonly files: number;
  /** Everything recorded before it lies in Parquet. */
  readonly exportedTo: Micros;
}

export interface ExportPredictionsResult {
  readonly models: readonly (ExportedLog & {
    readonly dropped: number;
    /** Everything recorded before it lies in Parquet alone; null: nothing was asked to go. */
    readonly droppedTo: Micros | null;
  })[];
}

export interface FindPredictionInput {
  readonly predictionId: string;
}

export interface FoundPrediction {
  /** As they were logged; empty: nothing is exported under the id. */
  readonly answers: readonly object[];
}

// ---- modelLifecycle -----------------------------------------------------------------------------------------------------

export type ModelLifecycleInput = TrainModelInput;

export interface ModelLifecycleResult {
  readonly training: TrainModelResult;
  readonly rollout: RolloutModelResult | null;
}
