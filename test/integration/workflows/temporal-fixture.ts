import { Client, Connection } from '@temporalio/client';
import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inject } from 'vitest';
import type { Activities } from '../../../activities/activities.ts';
import { startTemporal } from '../../../platform/embedded/temporal.ts';
import { createLogger } from '../../../platform/logger.ts';
import { SerinErrorInterceptor } from '../../../workers/serin-error-interceptor.ts';
import { WORKFLOW_BUNDLE } from '../../../workers/workflow-bundle.ts';
import { TASK_QUEUE_CONTROL, TASK_QUEUE_DATA, TASK_QUEUE_TRAINING } from '../../../workflows/messages.ts';
import { within } from '../../setup/eventually.ts';

export interface RunningWorkers {
  /** What runs is told to stop at once, and is taken up by whichever worker comes next. */
  stop(): Promise<void>;
}

export interface TemporalFixture {
  readonly client: Client;
  /** `host:port` of the server, for processes of their own. */
  readonly address: string;
  /** @param queues all when absent; that of control runs the workflows */
  startWorkers(activities: Activities, queues?: readonly string[]): Promise<RunningWorkers>;
  /** Ends whatever a test has left running, so that it does not act in the next one. */
  endWorkflows(): Promise<void>;
  stop(): Promise<void>;
}

/**
 * A Temporal server of the caller's own: the task queues have fixed names, so two test files must not share one.
 * @param continueAsNewAt after how many events the server suggests a new run; its own default when absent
 */
export async function startTemporalFixture({
  continueAsNewAt,
}: { continueAsNewAt?: number } = {}): Promise<TemporalFixture> {
  // one runtime a process; what goes wrong is seen in the results
  Runtime.install({ logger: new DefaultLogger('ERROR', () => undefined), shutdownSignals: [] });
  const dir = await mkdtemp(join(tmpdir(), 'serin-workflows-'));
  const { temporalCli } = inject('services');
  const cli = continueAsNewAt === undefined ? temporalCli : await suggestingNewRuns(temporalCli, dir, continueAsNewAt);
  const logger = createLogger({ service: 'test', node: 'workflows', level: 'silent' });
  const server = await startTemporal({ cli, dir: join(dir, 'temporal'), logFile: join(dir, 'temporal.log'), logger });
  const native = await NativeConnection.connect({ address: server.address });
  const connection = await Connection.connect({ address: server.address });
  const client = new Client({ connection });
  const running = new Set<RunningWorkers>();
  return {
    client,
    address: server.address,
    async startWorkers(activities, queues = [TASK_QUEUE_CONTROL, TASK_QUEUE_DATA, TASK_QUEUE_TRAINING]) {
      const workers = await Promise.all(
        queues.map((taskQueue) =>
          Worker.create({
            connection: native,
            taskQueue,
            activities,
            ...(taskQueue === TASK_QUEUE_CONTROL && { workflowBundle: { codePath: WORKFLOW_BUNDLE } }),
            interceptors: { activity: [() => ({ inbound: new SerinErrorInterceptor() })] },
            stickyQueueScheduleToStartTimeout: '2s',
            maxHeartbeatThrottleInterval: '100ms',
            shutdownForceTime: '2s',
          }),
        ),
      );
      const ended = Promise.all(workers.map((worker) => worker.run()));
      const started: RunningWorkers = {
        async stop() {
          running.delete(started);
          for (const worker of workers) if (worker.getState() === 'RUNNING') worker.shutdown();
          await within('the workers end', ended);
        },
      };
      running.add(started);
      return started;
    },
    async endWorkflows() {
      for await (const { workflowId, runId } of client.workflow.list({ query: `ExecutionStatus = 'Running'` })) {
        await client.workflow
          .getHandle(workflowId, runId)
          .terminate('the test is over')
          .catch(() => undefined); // it has ended by itself meanwhile
      }
    },
    async stop() {
      for (const workers of running) await workers.stop();
      await connection.close();
      await native.close();
      await server.kill();
      await rm(dir, { recursive: true, force: true });
    },
  };
}

/** The CLI with one more setting for its server: a shell script in its place. */
async function suggestingNewRuns(cli: string, dir: string, events: number): Promise<string> {
  const script = join(dir, 'temporal.sh');
  const setting = `--dynamic-config-value limit.historyCount.suggestContinueAsNew=${events}`;
  await writeFile(
    script,
    `#!/bin/sh\nif [ "$1" = server ]; then exec '${cli}' "$@" ${setting}; else exec '${cli}' "$@"; fi\n`,
  );
  await chmod(script, 0o755);
  return script;
}
