import { EventEmitter } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { createLogger } from './logger.ts';
import { createShutdown } from './shutdown.ts';

const logger = createLogger({ service: 'test', node: 'test', level: 'silent' });

test('what was opened last is closed first, once, and a failure to close is an exit code', async () => {
  const closed: string[] = [];
  const codes: number[] = [];
  const shutdown = createShutdown({ logger, target: new EventEmitter(), exit: (code) => codes.push(code) });
  shutdown.onClose('database', async () => closed.push('database'));
  shutdown.onClose('broken', () => Promise.reject(new Error('stuck')));
  shutdown.onClose('http', async () => closed.push('http'));
  await Promise.all([shutdown.start('test'), shutdown.start('again')]);
  expect(closed).toEqual(['http', 'database']);
  expect(codes).toEqual([1]);
});

test('a part that does not close is given up at the deadline', async () => {
  const codes: number[] = [];
  await new Promise<void>((resolve) => {
    const shutdown = createShutdown({
      logger,
      target: new EventEmitter(),
      deadlineMs: 10,
      exit: (code) => {
        codes.push(code);
        resolve();
      },
    });
    shutdown.onClose('stuck', () => new Promise(() => {}));
    void shutdown.start('test');
  });
  expect(codes).toEqual([1]);
});

test('a signal starts the shutdown, a second one ends the process at once', () => {
  const codes: number[] = [];
  const target = new EventEmitter();
  const shutdown = createShutdown({ logger, target, exit: (code) => codes.push(code) });
  shutdown.onClose('stuck', () => new Promise(() => {}));
  target.emit('SIGTERM');
  expect(codes).toEqual([]);
  target.emit('SIGINT');
  expect(codes).toEqual([1]);
});

test('a process whose parent has died ends in order', async () => {
  const ended = new Promise<number>((resolve) => {
    const target = Object.assign(new EventEmitter(), { channel: { unref: () => undefined } });
    createShutdown({ logger, target, exit: resolve });
    target.emit('disconnect');
  });
  expect(await ended).toBe(0);
});

test('an error that nobody caught is in the log of the process that it ends', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'serin-shutdown-'));
  const file = join(folder, 'log');
  const target = new EventEmitter();
  createShutdown({ logger: createLogger({ service: 'test', node: 'test', level: 'info', file }), target });
  // what node tells before it ends the process, whose output must be there by then
  target.emit('uncaughtExceptionMonitor', new Error('nobody listens'), 'unhandledRejection');
  expect(JSON.parse(readFileSync(file, 'utf8'))).toMatchObject({
    level: 'fatal',
    origin: 'unhandledRejection',
    err: { message: 'nobody listens', stack: expect.stringContaining('shutdown.test') as string },
  });
  await rm(folder, { recursive: true });
});
