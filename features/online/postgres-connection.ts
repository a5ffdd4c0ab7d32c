/** Transactions, and which failures of PostgreSQL mean that it does not answer. */
import type { Pool, PoolClient } from 'pg';
import { SerinError } from '../../domain/errors.ts';

export async function inTransaction<T>(pool: Pool, work: (client: PoolClient) => Promise<T>): Promise<T> {
  return answered(async () => {
    const client = await pool.connect();
    let broken: Error | undefined;
    // a connection that dies between two statements says so by an event, which nobody else listens for
    const onError = (error: Error): void => {
      broken = error;
    };
    client.on('error', onError);
    try {
      await client.query('begin');
      const result = await work(client);
      await client.query('commit');
      return result;
    } catch (error) {
      // a connection that cannot even roll back is not given back to the pool; the server then rolls back by itself
      await client.query('rollback').catch((failure: unknown) => {
        broken = failure instanceof Error ? failure : new Error(String(failure));
      });
      throw error;
    } finally {
      client.off('error', onError);
      client.release(broken);
    }
  });
}

/** SQLSTATE classes 08 (connection), 53 (resources), 57P (shutdown, recovery), idle-in-transaction timeout; sockets; DNS. */
const UNREACHABLE_CODE = /^(08|53|57P|25P03|ECONN|EPIPE|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|EAI_)/;
/** What `pg` throws without a code. */
const UNREACHABLE_MESSAGE =
  /^(connection terminated|timeout exceeded when trying to connect|query read timeout|client has encountered a connection error)/i;

/** Failures to reach PostgreSQL (and its own shutdown, recovery or lack of resources) become one retryable error. */
export async function answered<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const { code, message } = error as { code?: unknown; message?: unknown };
    const isUnreachable =
      typeof code === 'string' ? UNREACHABLE_CODE.test(code) : UNREACHABLE_MESSAGE.test(String(message));
    if (!isUnreachable) throw error;
    const reason = [code, message].filter((part) => typeof part === 'string' && part !== '').join(', ');
    throw new SerinError('ONLINE_STORE_UNAVAILABLE', `the online store does not answer (${reason})`, { cause: error });
  }
}
