import {
  ApplicationFailure,
  Client,
  Connection,
  defaultGrpcRetryOptions,
  isGrpcServiceError,
  makeGrpcRetryInterceptor,
  ScheduleAlreadyRunning,
  type ScheduleOptions,
  ScheduleNotFoundError,
  type WorkflowExecutionDescription,
  WorkflowExecutionAlreadyStartedError,
  WorkflowFailedError,
  type WorkflowIdReusePolicy,
  WorkflowNotFoundError,
  WorkflowUpdateFailedError,
  WorkflowUpdateRPCTimeoutOrCancelledError,
} from '@temporalio/client';
import { CancelledFailure, TerminatedFailure, TimeoutFailure } from '@temporalio/common';
import { isErrorCode, SerinError } from '../domain/errors.ts';
import type { CommandType } from '../domain/rollout/state.ts';
import {
  type BuildDatasetInput,
  type CheckConsistencyInput,
  type CommandInput,
  type CommandResult,
  commandUpdates,
  type CompactLogInput,
  type DiffDatasetsInput,
  type ExplainRowInput,
  type ExportPredictionsInput,
  type FindPredictionInput,
  type ForgetEntityInput,
  type InferAsyncInput,
  type IngestSourceInput,
  type MaterializeFeaturesInput,
  type ModelLifecycleInput,
  type MonitorModelInput,
  type RollbackModelInput,
  type RebuildDatasetInput,
  type RolloutModelInput,
  type ScoreBatchInput,
  TASK_QUEUE_CONTROL,
  type TrainModelInput,
} from '../workflows/messages.ts';
import { MODEL_NAME, MODEL_VERSION } from '../workflows/search-attributes.ts';

/** The workflow types that the API starts, with what they take. */
export interface WorkflowInputs {
  readonly ingestSource: IngestSourceInput;
  readonly compactLog: CompactLogInput;
  readonly materializeFeatures: MaterializeFeaturesInput;
  readonly buildDataset: BuildDatasetInput;
  readonly diffDatasets: DiffDatasetsInput;
  readonly explainRow: ExplainRowInput;
  readonly exportPredictions: ExportPredictionsInput;
  readonly findPrediction: FindPredictionInput;
  readonly rebuildDataset: RebuildDatasetInput;
  readonly forgetEntity: ForgetEntityInput;
  readonly trainModel: TrainModelInput;
  readonly modelLifecycle: ModelLifecycleInput;
  readonly rolloutModel: RolloutModelInput;
  readonly rollbackModel: RollbackModelInput;
  readonly monitorModel: MonitorModelInput;
  readonly scoreBatch: ScoreBatchInput;
  readonly inferAsync: InferAsyncInput;
  readonly checkConsistency: CheckConsistencyInput;
}
export type WorkflowType = keyof WorkflowInputs;

export interface StartRequest<T extends WorkflowType> {
  readonly type: T;
  readonly workflowId: string;
  readonly input: WorkflowInputs[T];
  /** One line for the Temporal UI. */
  readonly summary: string;
  readonly model?: string;
  readonly version?: number;
  /** What a closed workflow of the same id is: done for good, done unless it failed, or no hindrance. One that runs is always joined. */
  readonly again: 'never' | 'afterFailure' | 'always';
  readonly requestId: string;
}

export const OPERATION_STATUSES = ['running', 'completed', 'failed', 'cancelled', 'terminated', 'timedOut'] as const;
export type OperationStatus = (typeof OPERATION_STATUSES)[number];

export interface Operation {
  readonly workflowId: string;
  readonly runId: string;
  readonly type: string;
  readonly status: OperationStatus;
  /** Of a completed one. */
  readonly result?: unknown;
  /** Of one that ended otherwise. */
  readonly failure?: SerinError;
}

export interface DeliverySchedule {
  readonly model: string;
  readonly training: string;
  readonly author: string;
  readonly every: { readonly everyMs: number } | { readonly cron: string };
  readonly paused: boolean;
}

/** The API's side of Temporal. Every call ends within its deadline; a server that does not answer is TEMPORAL_UNAVAILABLE. */
export interface Workflows {
  start<T extends WorkflowType>(request: StartRequest<T>): Promise<{ workflowId: string }>;
  /** Where a workflow stands; waits up to `waitMs` for its end. Undefined when there is none of that id. */
  find(workflowId: string, options?: { waitMs?: number; signal?: AbortSignal }): Promise<Operation | undefined>;
  /** Gives a rollout a command and waits for the answer. @throws the SerinError with which the rollout refuses it */
  command(workflowId: string, type: CommandType, input: CommandInput): Promise<CommandResult>;
  cancel(workflowId: string): Promise<boolean>;
  putSchedule(schedule: DeliverySchedule): Promise<{ scheduleId: string; created: boolean }>;
  deleteSchedule(model: string): Promise<boolean>;
  isReachable(): Promise<boolean>;
  close(): Promise<void>;
}

const CALL_MS = 5_000;
const COMMAND_MS = 15_000;
/** About half a second in all: whoever asks is told soon, and asks again. */
const ATTEMPTS = 4;
/** The first call after an outage does not wait for a long back-off of the channel to end. */
const RECONNECT_MS_MAX = 1_000;
const PROBE_MS = 1_000;
const REUSE = {
  never: 'REJECT_DUPLICATE',
  afterFailure: 'ALLOW_DUPLICATE_FAILED_ONLY',
  always: 'ALLOW_DUPLICATE',
} as const satisfies Record<string, WorkflowIdReusePolicy>;

/** Connects at the first call, so that an API without Temporal still answers what it reads from the database. */
export function connectWorkflows({
  address,
  namespace,
  identity,
  commandMs = COMMAND_MS,
}: {
  address: string;
  namespace: string;
  identity: string;
  /** How long a command may take to be answered. */
  commandMs?: number;
}): Workflows {
  const connection = Connection.lazy({
    address,
    connectTimeout: CALL_MS,
    channelArgs: { 'grpc.initial_reconnect_backoff_ms': 100, 'grpc.max_reconnect_backoff_ms': RECONNECT_MS_MAX },
    interceptors: [makeGrpcRetryInterceptor(defaultGrpcRetryOptions({ maxAttempts: ATTEMPTS }))],
  });
  const client = new Client({ connection, namespace, identity });

  async function within<T>(ms: number, call: () => Promise<T>): Promise<T> {
    try {
      return await connection.withDeadline(Date.now() + ms, call);
    } catch (error) {
      throw asSerinError(error, address);
    }
  }

  async function describe(workflowId: string): Promise<WorkflowExecutionDescription | undefined> {
    try {
      return await within(CALL_MS, () => client.workflow.getHandle(workflowId).describe());
    } catch (error) {
      if (error instanceof WorkflowNotFoundError) return undefined;
      throw error;
    }
  }

  /** True when it ended in time. */
  async function waitForEnd(workflowId: string, waitMs: number, signal: AbortSignal | undefined): Promise<boolean> {
    const timeout = AbortSignal.timeout(waitMs);
    const stop = signal === undefined ? timeout : AbortSignal.any([timeout, signal]);
    try {
      await connection.withAbortSignal(stop, () => client.workflow.getHandle(workflowId).result());
      return true;
    } catch (error) {
      if (stop.aborted) return false;
      if (error instanceof WorkflowFailedError) return true;
      throw asSerinError(error, address);
    }
  }

  async function ended(workflowId: string): Promise<Pick<Operation, 'result' | 'failure'>> {
    try {
      return { result: await within(CALL_MS, () => client.workflow.getHandle(workflowId).result()) };
    } catch (error) {
      if (error instanceof WorkflowFailedError) return { failure: failureOf(error, workflowId) };
      throw error;
    }
  }

  return {
    async start({ type, workflowId, input, summary, model, version, again, requestId }) {
      try {
        await within(CALL_MS, () =>
          client.workflow.start(type, {
            args: [input],
            workflowId,
            taskQueue: TASK_QUEUE_CONTROL,
            workflowIdConflictPolicy: 'USE_EXISTING',
            workflowIdReusePolicy: REUSE[again],
            staticSummary: summary,
            memo: { requestId },
            typedSearchAttributes: [
              ...(model === undefined ? [] : [{ key: MODEL_NAME, value: model }]),
              ...(version === undefined ? [] : [{ key: MODEL_VERSION, value: `v${version}` }]),
            ],
          }),
        );
      } catch (error) {
        if (!(error instanceof WorkflowExecutionAlreadyStartedError)) throw error;
      }
      return { workflowId };
    },

    async find(workflowId, { waitMs = 0, signal } = {}) {
      let description = await describe(workflowId);
      if (description === undefined) return undefined;
      if (description.status.name === 'RUNNING' && waitMs > 0 && (await waitForEnd(workflowId, waitMs, signal))) {
        description = (await describe(workflowId)) ?? description;
      }
      const status = statusOf(description);
      return {
        workflowId,
        runId: description.runId,
        type: description.type,
        status,
        ...(status !== 'running' && (await ended(workflowId))),
      };
    },

    async command(workflowId, type, input) {
      const handle = client.workflow.getHandle(workflowId);
      const update = commandUpdates[type];
      try {
        return await within(commandMs, () =>
          handle.executeUpdate(update, { args: [input], updateId: input.commandId }),
        );
      } catch (error) {
        if (error instanceof WorkflowUpdateFailedError) throw failureOf(error, workflowId);
        if (error instanceof WorkflowUpdateRPCTimeoutOrCancelledError) {
          throw new SerinError(
            'TEMPORAL_UNAVAILABLE',
            `the rollout has not answered "${type}" within ${commandMs / 1_000} s (is a worker running?); send it again with the commandId ${input.commandId}: it is obeyed once`,
            { cause: error, fields: { commandId: input.commandId } },
          );
        }
        throw error;
      }
    },

    async cancel(workflowId) {
      try {
        await within(CALL_MS, () => client.workflow.getHandle(workflowId).cancel());
        return true;
      } catch (error) {
        if (error instanceof WorkflowNotFoundError) return false;
        throw error;
      }
    },

    async putSchedule(schedule) {
      const scheduleId = scheduleIdOf(schedule.model);
      const options = scheduleOptions(scheduleId, schedule);
      try {
        await within(CALL_MS, () => client.schedule.create(options));
        return { scheduleId, created: true };
      } catch (error) {
        if (!(error instanceof ScheduleAlreadyRunning)) throw error;
      }
      await within(CALL_MS, () =>
        client.schedule.getHandle(scheduleId).update(() => ({
          spec: options.spec,
          action: { ...options.action, workflowId: scheduleId },
          policies: options.policies ?? {},
          state: { paused: schedule.paused },
        })),
      );
      return { scheduleId, created: false };
    },

    async deleteSchedule(model) {
      try {
        await within(CALL_MS, () => client.schedule.getHandle(scheduleIdOf(model)).delete());
        return true;
      } catch (error) {
        if (error instanceof ScheduleNotFoundError) return false;
        throw error;
      }
    },

    async isReachable() {
      return within(PROBE_MS, () => connection.workflowService.getSystemInfo({})).then(
        () => true,
        () => false,
      );
    },

    close: () => connection.close(),
  };
}

function scheduleIdOf(model: string): string {
  return `deliver/${model}`;
}

function scheduleOptions(scheduleId: string, { model, training, author, every, paused }: DeliverySchedule) {
  return {
    scheduleId,
    spec: 'cron' in every ? { cronExpressions: [every.cron] } : { intervals: [{ every: every.everyMs }] },
    action: {
      type: 'startWorkflow',
      workflowType: 'modelLifecycle',
      workflowId: scheduleId,
      taskQueue: TASK_QUEUE_CONTROL,
      args: [{ model, training, author } satisfies ModelLifecycleInput],
      staticSummary: `train and deliver ${model} / ${training}`,
      typedSearchAttributes: [{ key: MODEL_NAME, value: model }],
    },
    // a delivery that is under way is not overtaken, and what was missed is not made up for: the next one has newer data
    policies: { overlap: 'SKIP', catchupWindow: '1m' },
    state: { paused },
  } satisfies ScheduleOptions;
}

function statusOf({ status }: WorkflowExecutionDescription): OperationStatus {
  switch (status.name) {
    case 'COMPLETED':
      return 'completed';
    case 'CANCELLED':
      return 'cancelled';
    case 'TERMINATED':
      return 'terminated';
    case 'TIMED_OUT':
      return 'timedOut';
    case 'FAILED':
      return 'failed';
    default:
      return 'running';
  }
}

/** The innermost failure that names a code of ours; what has none is a bug or a lost worker, and says so. */
function failureOf(error: Error, workflowId: string): SerinError {
  let innermost: Error = error;
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    innermost = at;
    if (at instanceof ApplicationFailure && isErrorCode(at.type)) {
      const [fields] = (at.details ?? []) as [Readonly<Record<string, unknown>>?];
      return new SerinError(at.type, at.message, { cause: error, fields: { ...fields, workflowId } });
    }
    if (at instanceof CancelledFailure || at instanceof TerminatedFailure) {
      return new SerinError(
        'CANCELLED',
        `${workflowId} was ${at instanceof CancelledFailure ? 'cancelled' : 'terminated'}`,
        {
          cause: error,
          fields: { workflowId },
        },
      );
    }
  }
  const what = innermost instanceof TimeoutFailure ? 'ran out of time' : 'failed';
  return new SerinError('WORKFLOW_FAILED', `${workflowId} ${what}: ${innermost.message}`, {
    cause: error,
    fields: { workflowId },
  });
}

const UNAVAILABLE = 14;
const DEADLINE_EXCEEDED = 4;

/** Connection trouble becomes TEMPORAL_UNAVAILABLE, whatever it is wrapped in; the rest stays what it is. */
function asSerinError(error: unknown, address: string): unknown {
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    const lost = isGrpcServiceError(at) && (at.code === UNAVAILABLE || at.code === DEADLINE_EXCEEDED);
    if (lost && !(error instanceof WorkflowUpdateRPCTimeoutOrCancelledError)) {
      return new SerinError('TEMPORAL_UNAVAILABLE', `Temporal at ${address} does not answer; try again`, {
        cause: error,
      });
    }
  }
  return error;
}
