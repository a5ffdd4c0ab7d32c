import { once } from 'node:events';
import { mkdtempSync } from 'node:fs';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test, vi } from 'vitest';
import { diagnose } from './diagnose.ts';

afterEach(() => vi.unstubAllEnvs());

test('services that take a connection and say nothing are told as such, and soon', async () => {
  const held: Socket[] = [];
  const silent = createServer((socket) => void held.push(socket)).listen(0, '127.0.0.1');
  await once(silent, 'listening');
  const at = `127.0.0.1:${(silent.address() as AddressInfo).port}`;
  vi.stubEnv('SERIN_DATABASE_URL', `postgres://serin:secret@${at}/serin`);
  vi.stubEnv('SERIN_API_URL', `http://${at}`);
  vi.stubEnv('SERIN_INFERENCE_URL', `http://${at}`);
  try {
    const checks = await diagnose({ home: mkdtempSync(join(tmpdir(), 'serin-doctor-')) });
    expect(checks.filter(({ name }) => ['PostgreSQL', 'api', 'inference'].includes(name))).toMatchObject([
      { name: 'PostgreSQL', ok: false, says: expect.stringMatching(/^postgres:.*\*\*\*@.*timeout/) },
      { name: 'api', ok: false, says: expect.stringContaining('does not answer') },
      { name: 'inference', ok: false, says: expect.stringContaining('does not answer') },
    ]);
  } finally {
    for (const socket of held) socket.destroy();
    silent.close();
  }
});
