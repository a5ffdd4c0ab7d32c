import { existsSync } from 'node:fs';
import { expect, test } from 'vitest';
import { createLogger } from './logger.ts';

test.skipIf(!existsSync('/dev/full'))('a log that cannot be written, as on a full disk, throws at nobody', () => {
  const logger = createLogger({ service: 'test', node: 'test', level: 'info', file: '/dev/full' });
  // more than is held
  const line = 'x'.repeat(1 << 18);
  expect(() => {
    for (let i = 0; i < 10; i++) logger.warn(line);
  }).not.toThrow();
});
