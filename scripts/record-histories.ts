/**
 * Stores what workflows did, for the replay test: `node dist/scripts/record-histories.js --temporal ADDRESS --out test/histories`.
 *
 * Of every workflow type one execution, of some one per outcome, the shortest the server has; beside it, in `doctored/`, the
 * same history with another name for its first activity, which a replay must not take for true. They come from
 * `npm run demo -- --sample 0.05 --keep` with, at its end, `serin --home .serin/demo rollback flight-delay --reason TEXT`.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Client, Connection } from '@temporalio/client';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import { loadConfig } from '../platform/config.ts';

interface Recording {
  readonly type: string;
  readonly label: string;
  /** Which executions will do, in Temporal's visibility query language. */
  readonly where: string;
}

/** An event of a history in JSON, as far as it is read here. */
interface HistoryEvent {
  readonly eventType: string;
  readonly activityTaskScheduledEventAttributes?: { readonly activityType: { readonly name: string } };
}

const RECORDINGS: readonly Recording[] = [
  { type: 'ingestSource', label: 'file', where: `ExecutionStatus = 'Completed'` },
  {
    type: 'materializeFeatures',
    label: 'all-views',
    where: `ExecutionStatus = 'Completed' AND WorkflowId STARTS_WITH 'materialize/'`,
  },
  // after a file that comes when the views are in use: `serin ingest` of another one
  { type: 'refreshViews', label: 'late-file', where: `ExecutionStatus = 'Completed'` },
  { type: 'buildDataset', label: 'built', where: `ExecutionStatus = 'Completed'` },
  // `serin dataset diff D D`, `explain D --row N`, `rebuild D`
  { type: 'diffDatasets', label: 'compared', where: `ExecutionStatus = 'Completed'` },
  { type: 'explainRow', label: 'explained', where: `ExecutionStatus = 'Completed'` },
  { type: 'rebuildDataset', label: 'same', where: `ExecutionStatus = 'Completed'` },
  { type: 'trainModel', label: 'registered', where: `ExecutionStatus = 'Completed' AND Stage = 'registered'` },
  { type: 'trainModel', label: 'gated', where: `ExecutionStatus = 'Completed' AND Stage = 'gated'` },
  { type: 'rolloutModel', label: 'promoted', where: `ExecutionStatus = 'Completed' AND Decision = 'promoted'` },
  { type: 'rolloutModel', label: 'rolled-back', where: `ExecutionStatus = 'Completed' AND Decision = 'rolledBack'` },
  { type: 'rollbackModel', label: 'rolled-back', where: `ExecutionStatus = 'Completed'` },
  // a monitor has no end: what it did so far is as good
  { type: 'monitorModel', label: 'under-way', where: `ExecutionStatus IN ('Running', 'ContinuedAsNew', 'Terminated')` },
  { type: 'checkConsistency', label: 'checked', where: `ExecutionStatus = 'Completed'` },
  // `serin predictions export --drop`, `serin predictions show ID` of one that was dropped
  { type: 'exportPredictions', label: 'dropped', where: `ExecutionStatus = 'Completed'` },
  { type: 'findPrediction', label: 'found', where: `ExecutionStatus = 'Completed'` },
  { type: 'forgetEntity', label: 'forgotten', where: `ExecutionStatus = 'Completed'` },
  // these two were recorded from the test suite's world (test/integration/workflows/fake-activities.ts)
  { type: 'scoreBatch', label: 'scored', where: `ExecutionStatus = 'Completed'` },
  { type: 'inferAsync', label: 'delivered', where: `ExecutionStatus = 'Completed'` },
  { type: 'modelLifecycle', label: 'promoted', where: `ExecutionStatus = 'Completed' AND Decision = 'promoted'` },
];

/** No workflow calls an activity of this name. */
const DOCTORED_ACTIVITY = 'doctored';

const { values } = parseArgs({
  options: {
    temporal: { type: 'string' },
    out: { type: 'string', default: 'test/histories' },
    /** Types to record; all when left out. */
    type: { type: 'string', multiple: true },
  },
});
const config = loadConfig();
const connection = await Connection.connect({ address: values.temporal ?? config.temporalAddress });
const client = new Client({ connection, namespace: config.temporalNamespace });
try {
  await mkdir(join(values.out, 'doctored'), { recursive: true });
  const missing: string[] = [];
  for (const recording of RECORDINGS) {
    if (values.type !== undefined && !values.type.includes(recording.type)) continue;
    const events = await shortestHistory(recording);
    const name = `${recording.type}.${recording.label}`;
    if (events === undefined) {
      missing.push(name);
      continue;
    }
    await writeHistory(join(values.out, `${name}.json`), events);
    await writeHistory(join(values.out, 'doctored', `${name}.json`), doctor(events));
    process.stdout.write(`${name}: ${events.length} events\n`);
  }
  if (missing.length > 0) {
    process.stderr.write(`the server has no execution for ${missing.join(', ')}; run one and record again\n`);
    process.exitCode = 1;
  }
} finally {
  await connection.close();
}

async function shortestHistory({ type, where }: Recording): Promise<readonly HistoryEvent[] | undefined> {
  let shortest: { readonly workflowId: string; readonly runId: string; readonly historyLength: number } | undefined;
  for await (const found of client.workflow.list({ query: `WorkflowType = '${type}' AND ${where}` })) {
    if (shortest === undefined || found.historyLength < shortest.historyLength) shortest = found;
  }
  if (shortest === undefined) return undefined;
  const history = await client.workflow.getHandle(shortest.workflowId, shortest.runId).fetchHistory();
  return (JSON.parse(historyToJSON(history)) as { events: HistoryEvent[] }).events;
}

/** The history up to the first activity's second workflow task, with that activity under a name that the code does not call. */
function doctor(events: readonly HistoryEvent[]): readonly HistoryEvent[] {
  const scheduledAt = events.findIndex((event) => event.activityTaskScheduledEventAttributes !== undefined);
  const doctored = events.map((event, index) => {
    const scheduled = event.activityTaskScheduledEventAttributes;
    if (index !== scheduledAt || scheduled === undefined) return event;
    return {
      ...event,
      activityTaskScheduledEventAttributes: { ...scheduled, activityType: { name: DOCTORED_ACTIVITY } },
    };
  });
  const nextTaskAt = doctored.findIndex(
    ({ eventType }, index) => index > scheduledAt && eventType === 'EVENT_TYPE_WORKFLOW_TASK_COMPLETED',
  );
  return nextTaskAt < 0 ? doctored : doctored.slice(0, nextTaskAt + 1);
}

/** One event a line: small, and a diff shows which events changed. */
async function writeHistory(file: string, events: readonly HistoryEvent[]): Promise<void> {
  await writeFile(file, `{"events":[\n${events.map((event) => JSON.stringify(event)).join(',\n')}\n]}\n`);
}
