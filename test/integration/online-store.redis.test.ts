import { createClient } from '@redis/client';
import { describe, expect, test } from 'vitest';
import { openOnlineStore } from '../../features/online/open-store.ts';
import { startTestRedis } from '../setup/redis-server.ts';
import { describeOnlineStore } from './online-store-suite.ts';

const redis = await startTestRedis();

describe.skipIf(redis === null)('the Redis store', () => {
  describeOnlineStore(async () => {
    const { url } = redis!;
    const admin = createClient({ url });
    await admin.connect();
    const opened = openOnlineStore(`${url}?namespace=tests`, { name: 'under-test', connections: 1 });
    const others: { close(): Promise<void> }[] = [];
    return {
      store: opened.store,
      async another() {
        const other = openOnlineStore(`${url}/0?namespace=tests`, { name: 'another', connections: 1 });
        others.push(other);
        return other.store;
      },
      async clear() {
        await admin.flushAll();
      },
      async breakConnections() {
        await admin.sendCommand(['CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes']);
      },
      async close() {
        await Promise.all([opened.close(), admin.close(), ...others.map((other) => other.close())]);
        await redis!.close();
      },
    };
  });
});

test('a Redis that does not answer is a retryable error, in time', async () => {
  const nowhere = openOnlineStore('redis://127.0.0.1:1', { name: 'none', connections: 1, readTimeoutMs: 300 });
  const refused = nowhere.store.read([{ viewId: 'delays@1', key: Buffer.from('x') }]);
  await expect(refused).rejects.toMatchObject({ code: 'ONLINE_STORE_UNAVAILABLE', retryable: true });
  await nowhere.close();
});
