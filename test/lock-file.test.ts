import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';

interface Lock {
  readonly packages: Readonly<Record<string, { readonly version?: string; readonly optionalDependencies?: object }>>;
}

const { missingEntries } = (await import(new URL('../scripts/complete-lock-file.mjs', import.meta.url).href)) as {
  missingEntries: (lock: Lock) => Record<string, object>;
};
const lock = JSON.parse(await readFile(new URL('../package-lock.json', import.meta.url), 'utf8')) as Lock;

test('npm ci accepts the lock file on every platform', () => {
  expect(Object.keys(missingEntries(lock)), 'run `node scripts/complete-lock-file.mjs`').toEqual([]);
});

test('an optional package that is named but not locked is found, wherever npm would look for it', () => {
  const packages = {
    '': {},
    'node_modules/a': { optionalDependencies: { 'a-linux-arm64-musl': '1.0.0', 'a-win32-x64': '1.0.0' } },
    'node_modules/a/node_modules/a-win32-x64': { version: '1.0.0' },
  };
  expect(missingEntries({ packages })).toEqual({
    'node_modules/a-linux-arm64-musl': {
      version: '1.0.0',
      cpu: ['arm64'],
      libc: ['musl'],
      optional: true,
      os: ['linux'],
    },
  });
});

/** The JSON histories of replay tests are read by @temporalio/* 1.24.0 through the protobufjs it finds: there must be one 8. */
test('exactly one protobufjs 8 is installed', () => {
  const installed = Object.entries(lock.packages).filter(([path]) => path.endsWith('node_modules/protobufjs'));
  expect(installed.filter(([, { version = '' }]) => version.startsWith('8.'))).toHaveLength(1);
});
