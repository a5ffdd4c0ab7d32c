/** One connection to Redis, made anew whenever it breaks. Commands fail at once while there is none. */
import { createClient, ErrorReply, RESP_TYPES } from '@redis/client';
import { SerinError } from '../../domain/errors.ts';
import type { RedisScript } from './redis-scripts.ts';

/** Texts come as bytes. */
export type RedisReply = Buffer | number | null | readonly RedisReply[];
type Arguments = readonly (string | Buffer)[];

/** Methods throw ONLINE_STORE_UNAVAILABLE when Redis does not answer. */
export interface RedisConnection {
  /** Sends the commands in one piece. @returns one reply each */
  ask(commands: readonly Arguments[]): Promise<readonly RedisReply[]>;
  run(script: RedisScript, keys: readonly string[], args: Arguments): Promise<RedisReply>;
  close(): Promise<void>;
}

export interface RedisConnectionOptions {
  /** `redis[s]://[[user][:password]@]host[:port][/database]` */
  readonly url: string;
  readonly name: string;
  /** How long a command waits for a connection that is being made. */
  readonly connectTimeoutMs?: number;
}

const CONNECT_TIMEOUT_MS = 5_000;
const RECONNECT_MAX_MS = 1_000;
/** A connection on which nothing is heard, not even the answer to a ping, is given up. */
const PING_MS = 1_000;
const SILENCE_MS = 5_000;

export function connectRedis({
  url,
  name,
  connectTimeoutMs = CONNECT_TIMEOUT_MS,
}: RedisConnectionOptions): RedisConnection {
  const client = createClient({
    url,
    name,
    RESP: 2,
    disableOfflineQueue: true,
    pingInterval: PING_MS,
    socket: {
      connectTimeout: connectTimeoutMs,
      socketTimeout: SILENCE_MS,
      noDelay: true,
      reconnectStrategy: (retries: number) => Math.min(RECONNECT_MAX_MS, 20 * 2 ** Math.min(retries, 10)),
    },
    commandOptions: {
      typeMapping: { [RESP_TYPES.BLOB_STRING]: Buffer },
      // the client's own makes an AbortSignal and a timer of five seconds for each command, two thirds of the CPU of a read,
      // and bounds only the wait for a connection, for which no command waits here
      timeout: 0,
    },
  });
  let lastError: unknown;
  client.on('error', (error: unknown) => {
    lastError = error;
  });
  // the first attempt, too, is repeated until it succeeds; commands say meanwhile that nobody answers
  client.connect().catch((error: unknown) => {
    lastError = error;
  });

  async function ready(): Promise<void> {
    if (client.isReady) return;
    await new Promise<void>((resolve, reject) => {
      const onReady = (): void => {
        clearTimeout(timer);
        resolve();
      };
      const timer = setTimeout(() => {
        client.off('ready', onReady);
        reject(unavailable(lastError ?? new Error(`no connection within ${connectTimeoutMs} ms`)));
      }, connectTimeoutMs);
      client.once('ready', onReady);
    });
  }

  const send = (args: Arguments): Promise<RedisReply> =>
    client.sendCommand(args) as Promise<unknown> as Promise<RedisReply>;

  return {
    async ask(commands) {
      if (!client.isReady) await ready();
      try {
        return commands.length === 1 ? [await send(commands[0]!)] : await Promise.all(commands.map(send));
      } catch (error) {
        throw unreachable(error);
      }
    },
    async run({ text, sha1 }, keys, args) {
      if (!client.isReady) await ready();
      const rest = [String(keys.length), ...keys, ...args];
      try {
        return await send(['EVALSHA', sha1, ...rest]).catch((error: unknown) => {
          if (error instanceof ErrorReply && error.message.startsWith('NOSCRIPT')) return send(['EVAL', text, ...rest]);
          throw error;
        });
      } catch (error) {
        throw unreachable(error);
      }
    },
    async close() {
      // what has been sent is answered first; without a connection there is nothing to wait for
      if (client.isReady) await client.close().catch(() => undefined);
      else if (client.isOpen) client.destroy();
    },
  };
}

/** Redis answers, but not for the store: it is loading, out of memory, a replica, without a master or a quorum, or cannot save. */
const CANNOT_SERVE = /^(LOADING|OOM|READONLY|MASTERDOWN|CLUSTERDOWN|NOREPLICAS|MISCONF|TRYAGAIN|BUSY)\b/;

function unreachable(error: unknown): unknown {
  if (error instanceof ErrorReply && !CANNOT_SERVE.test(error.message)) return error;
  return unavailable(error);
}

function unavailable(cause: unknown): SerinError {
  const reason = cause instanceof Error ? cause.message || cause.name : String(cause);
  return new SerinError('ONLINE_STORE_UNAVAILABLE', `the online store does not answer (${reason})`, { cause });
}
