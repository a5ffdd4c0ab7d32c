/**
 * The activities as workflows call them: one proxy per class of work, with its time limits. The default retry (for ever, with
 * back-off) is right for effects: what must not be retried says so itself (a SerinError that is not retryable).
 */
import { ActivityCancellationType, proxyActivities } from '@temporalio/workflow';
import type { Activities } from '../activities/activities.ts';
import { TASK_QUEUE_CONTROL, TASK_QUEUE_DATA, TASK_QUEUE_TRAINING } from './messages.ts';

/** Short reads and writes of the database. */
export const control = proxyActivities<Activities>({
  taskQueue: TASK_QUEUE_CONTROL,
  startToCloseTimeout: '30s',
  cancellationType: ActivityCancellationType.TRY_CANCEL,
  retry: { initialInterval: '200ms', maximumInterval: '10s' },
});

/** Changes of traffic: a cancelled workflow waits for the one that is under way, so that nothing moves behind its back. */
export const traffic = proxyActivities<Activities>({
  taskQueue: TASK_QUEUE_CONTROL,
  // a worker that dies in the middle of a rollback costs this long
  startToCloseTimeout: '8s',
  cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
  retry: { initialInterval: '100ms', maximumInterval: '5s' },
});

/** Waits for the nodes, heartbeating; ends when all live ones have acknowledged. */
export const acknowledgement = proxyActivities<Activities>({
  taskQueue: TASK_QUEUE_CONTROL,
  startToCloseTimeout: '10m',
  heartbeatTimeout: '10s',
  cancellationType: ActivityCancellationType.TRY_CANCEL,
  retry: { initialInterval: '200ms', maximumInterval: '5s' },
});

/** Reads and writes many rows; heartbeats its progress. */
export const data = proxyActivities<Activities>({
  taskQueue: TASK_QUEUE_DATA,
  startToCloseTimeout: '6h',
  heartbeatTimeout: '30s',
  cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
  retry: { maximumAttempts: 10 },
});

/** Asks the inference tier for what may take minutes, until it has an answer. */
export const slowInference = proxyActivities<Activities>({
  taskQueue: TASK_QUEUE_DATA,
  startToCloseTimeout: '15m',
  scheduleToCloseTimeout: '24h',
  heartbeatTimeout: '30s',
  cancellationType: ActivityCancellationType.TRY_CANCEL,
  retry: { initialInterval: '500ms', maximumInterval: '1m' },
});

/** Calls addresses that clients named: for about a day, ever more rarely. */
export const callbacks = proxyActivities<Activities>({
  taskQueue: TASK_QUEUE_DATA,
  startToCloseTimeout: '30s',
  scheduleToCloseTimeout: '24h',
  heartbeatTimeout: '10s',
  cancellationType: ActivityCancellationType.TRY_CANCEL,
  retry: { initialInterval: '1s', maximumInterval: '1h' },
});

/** Trains and evaluates in threads and processes of its own; heartbeats its checkpoints. */
export const training = proxyActivities<Activities>({
  taskQueue: TASK_QUEUE_TRAINING,
  startToCloseTimeout: '24h',
  heartbeatTimeout: '10s',
  cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
  retry: { initialInterval: '500ms', maximumAttempts: 10 },
});
