/** Entry of a dataset thread: replays are plain computation and would hold up whoever awaits them. */
import { parentPort, workerData } from 'node:worker_threads';
import { assembleDataset } from './dataset-assembly.ts';
import { datasetDefinitions } from './dataset-definitions.ts';
import type { DatasetJob, DatasetTask, TaskResults } from './dataset-job.ts';
import { labelChunk } from './dataset-labels.ts';
import { replayChunk } from './dataset-replay.ts';
import { writeSpine } from './dataset-spine.ts';
import { cancelled } from './dataset-threads.ts';
import type { DuckDb } from './duckdb.ts';
import { ThreadWork } from './thread-work.ts';

const job = workerData as DatasetJob;
const definitions = datasetDefinitions(job.project, job.model, job.featureSet);
const thread = new ThreadWork(parentPort!, cancelled);

parentPort!.on('message', (message: DatasetTask | 'abort') => {
  if (message === 'abort') {
    thread.abort();
    return;
  }
  const { duckdb, kind } = message;
  void thread.carryOut(
    { duckdb, outOfMemory: 'the dataset cannot be built', fields: { step: kind } },
    (database, onRows) => carryOut(database, message, onRows),
  );
});

function carryOut(
  database: DuckDb,
  task: DatasetTask,
  onRows: (rows: number) => void,
): Promise<TaskResults[DatasetTask['kind']]> {
  switch (task.kind) {
    case 'spine':
      return writeSpine(database, definitions, job, task, (settings) => thread.openDatabase(settings));
    case 'replay':
      return replayChunk(database, definitions, job, task, onRows);
    case 'label':
      return labelChunk(database, definitions, job, task, onRows);
    case 'assemble':
      return assembleDataset(database, definitions, job, task, onRows);
  }
}
