import { expect, test } from 'vitest';
import { createLogger } from './logger.ts';
import { createShutdown } from './shutdown.ts';

const logger = createLogger({ service: 'test', node: 'test', level: 'silent' });

test('what was opened last is closed first, once, and a failure to close is an exit code', async () => {
  const closed: string[] = [];
  const codes: number[] = [];
  const shutdown = createShutdown({ logger, exit: (code) => codes.push(code) });
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
