/**
 * A worker with the real activities, in a process of its own, to be killed:
 * `node feature-worker-process.js TEMPORAL_ADDRESS DATABASE_URL FOLDER`. It tells its parent when it is ready.
 */
import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import { SerinErrorInterceptor } from '../../../workers/serin-error-interceptor.ts';
import { TASK_QUEUE_DATA } from '../../../workflows/messages.ts';
import { openFeatureWorld } from './feature-world.ts';

const [address, databaseUrl, dir] = process.argv.slice(2);
if (dir === undefined) throw new Error('usage: feature-worker-process.js TEMPORAL_ADDRESS DATABASE_URL FOLDER');

Runtime.install({ logger: new DefaultLogger('ERROR', () => undefined), shutdownSignals: [] });
const { activities } = openFeatureWorld(databaseUrl!, dir);
const worker = await Worker.create({
  connection: await NativeConnection.connect({ address: address! }),
  taskQueue: TASK_QUEUE_DATA,
  activities,
  interceptors: { activity: [() => ({ inbound: new SerinErrorInterceptor() })] },
  maxHeartbeatThrottleInterval: '100ms',
});
process.on('disconnect', () => process.exit(0));
const running = worker.run();
process.send?.('ready');
await running;
