/**
 * A worker in a process of its own, to be killed: `node worker-process.js <address of Temporal>`. It tells its parent of every
 * call of an activity, and of `ready`. Its evidence holds, so that a stage lasts as long as its test wants.
 */
import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import { WORKFLOW_BUNDLE } from '../../../workers/workflow-bundle.ts';
import { TASK_QUEUE_CONTROL } from '../../../workflows/messages.ts';
import { type Call, fakeActivities, showing } from './fake-activities.ts';

export type WorkerMessage = 'ready' | Call;

const [address] = process.argv.slice(2);
if (address === undefined) throw new Error('usage: worker-process.js ADDRESS');
const tell = (message: WorkerMessage) => process.send?.(message);

Runtime.install({ logger: new DefaultLogger('ERROR', () => undefined), shutdownSignals: [] });
const worker = await Worker.create({
  connection: await NativeConnection.connect({ address }),
  taskQueue: TASK_QUEUE_CONTROL,
  workflowBundle: { codePath: WORKFLOW_BUNDLE },
  activities: fakeActivities({ collectEvidence: showing('hold') }, tell).activities,
  stickyQueueScheduleToStartTimeout: '2s',
});
process.on('disconnect', () => process.exit(0));
const running = worker.run();
tell('ready');
await running;
