import type { Db } from '../../db/database.ts';
import { insertPredictions, type LoggedPrediction } from '../../db/predictions.ts';
import { insertTallies, type ArmTallyRow } from '../../db/tallies.ts';
import type { Accounting } from '../scoring/answer.ts';
import type { Redactor } from './redaction.ts';
import { Outbox } from './outbox.ts';
import { answerRecord, sampleWeight, shadowRecord } from './prediction-records.ts';
import { TallyBook } from './tally-book.ts';

export interface RecorderOptions {
  readonly db: Db;
  readonly nodeId: string;
  /** µs */
  readonly startedAt: number;
  readonly nowMicros: () => number;
  /** Takes personal data out of a record before it is buffered. */
  readonly redactor: Redactor;
  /** A batch of the log is in PostgreSQL. */
  readonly onLogWritten: (rows: number, seconds: number) => void;
  readonly onDrop: (what: 'log' | 'tally', rows: number) => void;
  readonly onFailure: (error: unknown) => void;
}

export interface Recorder {
  readonly accounting: Pick<Accounting, 'answered' | 'shadowScored'>;
  readonly logBufferRows: () => number;
  /** Writes what has been counted and logged so far, as far as PostgreSQL takes it. */
  flush(): Promise<void>;
  close(): Promise<void>;
}

const FLUSH_MS = 1_000;
/** An hour of flushes; each is a few rows. */
const MAX_FLUSHES = 3_600;
const MAX_LOG_ROWS = 20_000;
const LOG_BATCH_ROWS = 500;
const LOG_EVERY_MS = 200;

/** Writes tallies and the prediction log in the background, and keeps both, bounded, while PostgreSQL is away. */
export function createRecorder({
  db,
  nodeId,
  startedAt,
  nowMicros,
  redactor,
  onLogWritten,
  onDrop,
  onFailure,
}: RecorderOptions): Recorder {
  const book = new TallyBook({ nodeId, startedAt, nowMicros });
  const flushes = new Outbox<readonly ArmTallyRow[]>({
    send: (batch) => insertTallies(db, batch.flat()),
    maxItems: MAX_FLUSHES,
    maxBatch: 60,
    everyMs: FLUSH_MS,
    onDrop: (items) => onDrop('tally', items),
    onFailure,
  });
  const log = new Outbox<LoggedPrediction>({
    async send(batch) {
      const startMs = performance.now();
      await insertWithoutPoison(db, batch, (rows) => onDrop('log', rows));
      onLogWritten(batch.length, (performance.now() - startMs) / 1e3);
    },
    maxItems: MAX_LOG_ROWS,
    maxBatch: LOG_BATCH_ROWS,
    everyMs: LOG_EVERY_MS,
    onDrop: (items) => onDrop('log', items),
    onFailure,
  });
  const ticking = setInterval(takeTallies, FLUSH_MS);
  ticking.unref();

  function takeTallies(): void {
    const rows = book.take();
    if (rows.length > 0) flushes.add(rows);
  }

  return {
    accounting: {
      answered(entry, answers, latencyMs, trace) {
        book.answered(entry, answers, latencyMs);
        for (const answer of answers) {
          const weight = sampleWeight(answer, entry.contract.logSampleRate);
          if (weight === null || !log.takes()) continue;
          const about = { answeredAt: nowMicros(), latencyMs, traceId: trace?.traceId ?? null };
          const record = answerRecord(entry, answer, weight, about);
          log.add(redactor.redact(entry, answer.served, record, answer.instance.fields));
        }
      },
      shadowScored(entry, scores) {
        book.shadowScored(entry, scores);
        for (const score of scores) {
          if (score.error !== null || !log.takes()) continue;
          const record = shadowRecord(entry, score, nowMicros());
          log.add(redactor.redact(entry, entry.shadow ?? entry.champion, record, score.answer.instance.fields));
        }
      },
    },
    logBufferRows: () => log.size,
    async flush() {
      takeTallies();
      await Promise.all([flushes.flush(), log.flush()]);
    },
    async close() {
      clearInterval(ticking);
      takeTallies();
      await Promise.all([flushes.close(), log.close()]);
    },
  };
}

/** A value PostgreSQL refuses (class 22) must not hold up the rows behind it: halves are tried until it stands alone. */
async function insertWithoutPoison(
  db: Db,
  rows: readonly LoggedPrediction[],
  onPoison: (rows: number) => void,
): Promise<void> {
  try {
    await insertPredictions(db, rows);
  } catch (error) {
    if (!isDataException(error)) throw error;
    if (rows.length === 1) {
      onPoison(1);
      return;
    }
    const middle = rows.length >> 1;
    await insertWithoutPoison(db, rows.slice(0, middle), onPoison);
    await insertWithoutPoison(db, rows.slice(middle), onPoison);
  }
}

function isDataException(error: unknown): boolean {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' && code.startsWith('22');
}
