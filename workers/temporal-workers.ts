import { DefaultLogger, NativeConnection, Runtime, Worker, makeTelemetryFilterString } from '@temporalio/worker';
import type { Activities } from '../activities/activities.ts';
import type { Config } from '../platform/config.ts';
import type { Logger } from '../platform/logger.ts';
import { SerinErrorInterceptor } from './serin-error-interceptor.ts';
import { WORKFLOW_BUNDLE } from './workflow-bundle.ts';

/** How many activities of a queue run at once in one process: I/O may pile up, work on many rows takes a core each. */
const CONCURRENT_ACTIVITIES = { 'serin-control': 50, 'serin-data': 2, 'serin-training': 1 } as const;

export interface TemporalWorkers {
  /** Settles when the workers have ended; rejects when one of them failed. */
  readonly running: Promise<void>;
  shutdown(): Promise<void>;
}

export async function startTemporalWorkers({
  config,
  activities,
  logger,
}: {
  config: Pick<Config, 'temporalAddress' | 'temporalNamespace' | 'nodeId' | 'workerQueues'>;
  activities: Activities;
  logger: Logger;
}): Promise<TemporalWorkers> {
  Runtime.install({
    logger: new DefaultLogger('INFO', ({ level, message, meta }) => {
      const {
        error,
        sdkComponent,
        workflowId,
        runId,
        activityId,
        activityType,
        workflowType,
        taskToken: _,
        ...rest
      } = (meta ?? {}) as Record<string, unknown>;
      const line = {
        sdkComponent,
        workflowId,
        runId,
        activityId,
        activityType,
        workflowType,
        ...(error !== undefined && { err: error }),
        ...rest,
      };
      logger[levelOf(level)](line, message);
    }),
    telemetryOptions: { logging: { filter: makeTelemetryFilterString({ core: 'WARN', other: 'ERROR' }), forward: {} } },
    // the process has its own orderly shutdown
    shutdownSignals: [],
  });
  const connection = await NativeConnection.connect({ address: config.temporalAddress });
  const workers: Worker[] = [];
  for (const taskQueue of config.workerQueues) {
    workers.push(
      await Worker.create({
        connection,
        namespace: config.temporalNamespace,
        taskQueue,
        identity: `${taskQueue}@${config.nodeId}`,
        activities,
        // workflows live on the control queue alone
        ...(taskQueue === 'serin-control' && { workflowBundle: { codePath: WORKFLOW_BUNDLE } }),
        interceptors: { activity: [() => ({ inbound: new SerinErrorInterceptor() })] },
        maxConcurrentActivityTaskExecutions: CONCURRENT_ACTIVITIES[taskQueue],
        maxCachedWorkflows: 300,
        // measured (research/temporal.md §4): a killed worker's workflows answer after 2.6 s instead of 10.6 s, and a killed
        // training goes on from its last checkpoint instead of from the start
        stickyQueueScheduleToStartTimeout: '2s',
        maxHeartbeatThrottleInterval: '500ms',
        shutdownGraceTime: '5s',
        shutdownForceTime: '15s',
      }),
    );
  }
  const running = Promise.all(workers.map((worker) => worker.run())).then(() => connection.close());
  return {
    running,
    async shutdown() {
      for (const worker of workers) if (worker.getState() === 'RUNNING') worker.shutdown();
      await running;
    },
  };
}

function levelOf(level: string): 'trace' | 'debug' | 'info' | 'warn' | 'error' {
  switch (level) {
    case 'TRACE':
      return 'trace';
    case 'DEBUG':
      return 'debug';
    case 'WARN':
      return 'warn';
    case 'ERROR':
      return 'error';
    default:
      return 'info';
  }
}
