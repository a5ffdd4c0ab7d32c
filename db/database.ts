import { Kysely, PostgresDialect, type Transaction } from 'kysely';
import pg from 'pg';
import { SerinError } from '../domain/errors.ts';
import type { Tables } from './schema.ts';

export type Db = Kysely<Tables> | Transaction<Tables>;

export interface Database {
  readonly db: Kysely<Tables>;
  /** The pool behind `db`, for what Kysely does not speak: COPY, LISTEN, binary rows. */
  readonly pool: pg.Pool;
  close(): Promise<void>;
}

const INT8_OID = 20;

/** int8 columns hold microseconds, sequences and counts, all safe integers: they are read as numbers, and refused if not. */
const types: pg.CustomTypesConfig = {
  getTypeParser: (oid: number, format?: 'text' | 'binary') => {
    if (oid === INT8_OID && format !== 'binary') return parseSafeInteger;
    return pg.types.getTypeParser(oid, format as 'text') as (value: string) => unknown;
  },
};

function parseSafeInteger(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value)) throw new RangeError(`int8 ${text} is not a safe integer`);
  return value;
}

export interface ConnectOptions {
  readonly max?: number;
  readonly name: string;
  /** How long to wait for a connection, and for each answer; without end when left out. */
  readonly patienceMs?: number;
}

export function connectDatabase(url: string, { max = 10, name, patienceMs }: ConnectOptions): Database {
  const pool = new pg.Pool({
    connectionString: url,
    max,
    types,
    application_name: `serin-${name}`,
    keepAlive: true,
    ...(patienceMs !== undefined && { connectionTimeoutMillis: patienceMs, query_timeout: patienceMs }),
  });
  // an idle connection that breaks (a restarted server) is replaced by the pool; the next query says if it is still gone
  pool.on('error', () => undefined);
  // so is one that breaks while somebody holds it: their query fails, the process does not
  pool.on('connect', (client) => client.on('error', () => undefined));
  const db = new Kysely<Tables>({ dialect: new PostgresDialect({ pool }) });
  return { db, pool, close: () => db.destroy() };
}

/** Connection-level failures, as opposed to refused statements: the caller may try again. */
export function asDatabaseError(error: unknown): unknown {
  const code = (error as { code?: unknown } | null)?.code;
  const connection = ['ECONNREFUSED', 'ECONNRESET', 'EPIPE', '57P01', '57P02', '57P03', '08006', '08001', '08003'];
  if (typeof code === 'string' && connection.includes(code)) {
    return new SerinError('DATABASE_UNAVAILABLE', `PostgreSQL does not answer (${code}); it is tried again`, {
      cause: error,
    });
  }
  return error;
}

/** PostgreSQL's unique_violation, for inserts whose conflict is an answer rather than a failure. */
export function isUniqueViolation(error: unknown): boolean {
  return (error as { code?: unknown } | null)?.code === '23505';
}
