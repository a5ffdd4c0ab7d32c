/** Entry of a dataset thread: replays are plain computation and would hold up whoever awaits them. */
import { parentPort, workerData } from 'node:worker_threads';
import { SerinError } from '../../domain/errors.ts';
import { assembleDataset } from './dataset-assembly.ts';
import { datasetDefinitions } from './dataset-definitions.ts';
import type { DatasetJob, DatasetTask, TaskResults, ThreadMessage } from './dataset-job.ts';
import { labelChunk } from './dataset-labels.ts';
import { replayChunk } from './dataset-replay.ts';
import { writeSpine } from './dataset-spine.ts';
import { cancelled } from './dataset-threads.ts';
import { DuckDb, type DuckDbSettings } from './duckdb.ts';

const PROGRESS_EVERY_MS = 200;
/** An interruption ends the statement that runs; one that begins after it is ended by the next. */
const INTERRUPT_EVERY_MS = 50;

function main(job: DatasetJob): void {
  const port = parentPort!;
  const definitions = datasetDefinitions(job.project, job.model, job.featureSet);
  const open = new Set<DuckDb>();
  let aborted = false;
  const openDatabase = async (settings: DuckDbSettings): Promise<DuckDb> => {
    const database = await DuckDb.open(settings);
    open.add(database);
    return database;
  };

  const work = async (task: DatasetTask): Promise<ThreadMessage> => {
    let duckdb: DuckDb | undefined;
    let gone = 0;
    let reportedAt = 0;
    const onRows = (rows: number): void => {
      if (aborted) throw cancelled();
      gone += rows;
      if (performance.now() - reportedAt < PROGRESS_EVERY_MS) return;
      reportedAt = performance.now();
      port.postMessage({ type: 'progress', rows: gone } satisfies ThreadMessage);
    };
    try {
      if (aborted) throw cancelled();
      // a database of its own for each task, so that what one needed is free for the next
      duckdb = await openDatabase(task.duckdb);
      return { type: 'done', result: await carryOut(duckdb, task, onRows) };
    } catch (error) {
      return messageOf(aborted ? cancelled() : error, task);
    } finally {
      duckdb?.close();
      open.clear();
    }
  };
  const carryOut = (
    database: DuckDb,
    task: DatasetTask,
    onRows: (rows: number) => void,
  ): Promise<TaskResults[DatasetTask['kind']]> => {
    switch (task.kind) {
      case 'spine':
        return writeSpine(database, definitions, job, task, openDatabase);
      case 'replay':
        return replayChunk(database, definitions, job, task, onRows);
      case 'label':
        return labelChunk(database, definitions, job, task, onRows);
      case 'assemble':
        return assembleDataset(database, definitions, job, task, onRows);
    }
  };

  port.on('message', (message: DatasetTask | 'abort') => {
    if (message === 'abort') {
      aborted = true;
      setInterval(() => {
        for (const database of open) database.interrupt();
      }, INTERRUPT_EVERY_MS).unref();
      return;
    }
    // the database is closed when the owner hears of the end, since it may end the thread then
    void work(message).then((last) => port.postMessage(last));
  });
}

function messageOf(error: unknown, task: DatasetTask): ThreadMessage {
  if (error instanceof SerinError)
    return { type: 'refused', code: error.code, detail: error.message, fields: error.fields };
  if (error instanceof Error && error.message.startsWith('Out of Memory')) {
    const detail = `the dataset cannot be built within ${task.duckdb.memory} of memory: raise SERIN_DUCKDB_MEMORY (${error.message.split('\n')[0]})`;
    return { type: 'refused', code: 'MEMORY_LIMIT', detail, fields: { memory: task.duckdb.memory, step: task.kind } };
  }
  return { type: 'crashed', message: error instanceof Error ? (error.stack ?? error.message) : String(error) };
}

main(workerData as DatasetJob);
