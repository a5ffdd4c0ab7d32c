import type { Kysely } from 'kysely';
import type { Pool, PoolClient } from 'pg';
import { getAppliedSequence } from '../db/ingest.ts';
import type { Tables } from '../db/schema.ts';

/** A notification that was lost is made up for by looking this often. */
const POLL_MS = 100;

/** Tells when the online views of a source have applied an event. */
export interface AppliedWatch {
  /** False when they have not within `timeoutMs`. A source that feeds no online view has nothing to wait for. */
  waitFor(source: string, seq: number, timeoutMs: number): Promise<boolean>;
  close(): Promise<void>;
}

/** The streamer announces what it applied by NOTIFY; one connection listens, from the first wait on. */
export function watchApplied(db: Kysely<Tables>, pool: Pool): AppliedWatch {
  const waiting = new Set<() => void>();
  let listener: Promise<PoolClient | undefined> | undefined;

  async function listen(): Promise<PoolClient | undefined> {
    let client: PoolClient;
    try {
      client = await pool.connect();
    } catch {
      listener = undefined; // polling answers meanwhile, the next wait tries again
      return undefined;
    }
    client.on('notification', () => waiting.forEach((wake) => wake()));
    client.on('error', () => {
      listener = undefined;
      client.release(true);
    });
    await client.query('listen serin_applied');
    return client;
  }

  return {
    async waitFor(source, seq, timeoutMs) {
      listener ??= listen();
      await listener;
      const deadline = performance.now() + timeoutMs;
      for (;;) {
        const applied = await getAppliedSequence(db, source);
        if (applied === undefined || applied >= seq) return true;
        const left = deadline - performance.now();
        if (left <= 0) return false;
        await news(Math.min(left, POLL_MS));
      }
    },

    async close() {
      waiting.forEach((wake) => wake());
      const client = await listener;
      client?.release(true);
    },
  };

  function news(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        clearTimeout(timer);
        waiting.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, ms);
      waiting.add(wake);
    });
  }
}
