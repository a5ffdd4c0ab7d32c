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
  /** Gives the connection back; undefined: there is none. */
  let listener: Promise<(() => void) | undefined> | undefined;

  async function listen(): Promise<(() => void) | undefined> {
    let client: PoolClient;
    try {
      client = await pool.connect();
    } catch {
      listener = undefined; // polling answers meanwhile, the next wait tries again
      return undefined;
    }
    let isOurs = true;
    // once: a broken connection says so by an event or two, and fails what was asked on it
    const giveBack = (): void => {
      if (!isOurs) return;
      isOurs = false;
      listener = undefined;
      client.release(true);
    };
    client.on('notification', () => waiting.forEach((wake) => wake()));
    client.on('error', giveBack);
    try {
      await client.query('listen serin_applied');
      return giveBack;
    } catch {
      giveBack(); // as above: who waits is answered by polling, not by this error
      return undefined;
    }
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
      const giveBack = await listener;
      giveBack?.();
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
