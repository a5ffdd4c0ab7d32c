import { execFile } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

/** Each breaks one rule, named by what the linter says about it. */
const VIOLATIONS: Record<string, { readonly source: string; readonly rule: string; readonly says?: string }> = {
  'platform/floating.ts': {
    source: 'export function f(): void {\n  Promise.resolve(1);\n}\n',
    rule: 'typescript(no-floating-promises)',
  },
  'platform/misused.ts': {
    source: 'export const f = (): number => {\n  if (Promise.resolve(true)) return 1;\n  return 2;\n};\n',
    rule: 'typescript(no-misused-promises)',
  },
  'platform/switch.ts': {
    source: `export function f(x: 'a' | 'b'): number {\n  switch (x) {\n    case 'a':\n      return 1;\n  }\n  return 0;\n}\n`,
    rule: 'typescript(switch-exhaustiveness-check)',
  },
  'platform/unsafe.ts': {
    source: `export const x: number = JSON.parse('1').y;\n`,
    rule: 'typescript(no-unsafe-member-access)',
  },
  'api/environment.ts': {
    source: `export const home = (): string | undefined => process.env['HOME'];\n`,
    rule: 'eslint(no-restricted-properties)',
    says: 'platform/config.ts alone reads the environment',
  },
  'platform/imports-db.ts': {
    source: `import { x } from '../db/thing.ts';\nexport const y = x;\n`,
    rule: 'eslint(no-restricted-imports)',
    says: 'platform/ imports only domain/ and itself',
  },
  'platform/cycle-a.ts': {
    source: `import { b } from './cycle-b.ts';\nexport const a = (): number => b();\n`,
    rule: 'import(no-cycle)',
  },
  'platform/cycle-b.ts': {
    source: `import { a } from './cycle-a.ts';\nexport const b = (): number => a();\n`,
    rule: 'import(no-cycle)',
  },
  'domain/clock.ts': {
    source: 'export const now = (): number => Date.now();\n',
    rule: 'eslint(no-restricted-globals)',
    says: 'Time comes in as an argument',
  },
  'domain/environment.ts': {
    source: `export const home = (): string | undefined => process.env['HOME'];\n`,
    rule: 'eslint(no-restricted-globals)',
  },
  'domain/network.ts': {
    source: `export const get = async (): Promise<unknown> => fetch('http://x');\n`,
    rule: 'eslint(no-restricted-globals)',
  },
  'domain/chance.ts': {
    source: 'export const chance = (): number => Math.random();\n',
    rule: 'eslint(no-restricted-properties)',
    says: 'Take a seed as an argument',
  },
  'domain/node.ts': {
    source: `import { cpus } from 'node:os';\nexport const n = (): number => cpus().length;\n`,
    rule: 'import(no-nodejs-modules)',
  },
  'domain/package.ts': {
    source: `import pg from 'pg';\nexport const client = pg;\n`,
    rule: 'eslint(no-restricted-imports)',
    says: 'domain/ is pure',
  },
  'domain/rollout/out.ts': {
    source: `import { x } from '../../db/thing.ts';\nexport const y = x;\n`,
    rule: 'eslint(no-restricted-imports)',
    says: 'domain/ imports nothing but itself',
  },
  'workflows/node.ts': {
    source: `import { createHash } from 'node:crypto';\nexport const h = createHash;\n`,
    rule: 'import(no-nodejs-modules)',
  },
  'workflows/activity.ts': {
    source: `import { x } from '../activities/thing.ts';\nexport const y = x;\n`,
    rule: 'eslint(no-restricted-imports)',
    says: 'workflows/ imports only types of activities/',
  },
  ...Object.fromEntries(
    [
      ['features', 'training'],
      ['training', 'db'],
      ['db', 'features'],
      ['inference', 'workflows'],
      ['activities', 'api'],
      ['workers', 'inference'],
      ['api', 'features'],
      ['cli', 'workers'],
      ['workflows', 'db'],
    ].map(([from = '', to = '']) => [
      `${from}/deep/imports-${to}.ts`,
      {
        source: `import { x } from '../../${to}/thing.ts';\nexport const y = x;\n`,
        rule: 'eslint(no-restricted-imports)',
        says: `${from}/ `,
      },
    ]),
  ),
};

const ALLOWED: Record<string, string> = {
  'workflows/types.ts': `import type { X } from '../activities/thing.ts';\nexport type Y = X;\n`,
  'api/allowed.ts': `import { x } from '../db/thing.ts';\nexport const y = x;\n`,
  'domain/rollout/inside.ts': `import { x } from '../features/thing.ts';\nexport const y = x;\n`,
  'domain/clock.test.ts': `import { cpus } from 'node:os';\nimport { expect, test } from 'vitest';\ntest('x', () => {\n  expect(cpus().length + Date.now()).toBeGreaterThan(0);\n});\n`,
};

let root: string;
let found: { readonly filename: string; readonly code: string; readonly message: string; readonly help?: string }[];

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'serin-lint-'));
  await symlink(join(ROOT, 'node_modules'), join(root, 'node_modules'));
  for (const file of ['.oxlintrc.json', 'tsconfig.json', 'package.json'])
    await copyFile(join(ROOT, file), join(root, file));
  const rooms = [
    'db',
    'features',
    'training',
    'inference',
    'activities',
    'workflows',
    'workers',
    'api',
    'domain/features',
  ];
  const things = Object.fromEntries(
    rooms.map((room) => [`${room}/thing.ts`, 'export const x = 1;\nexport type X = number;\n']),
  );
  const sources = Object.fromEntries(Object.entries(VIOLATIONS).map(([path, { source }]) => [path, source]));
  for (const [path, source] of Object.entries({ ...things, ...ALLOWED, ...sources })) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), source);
  }
  const oxlint = join(ROOT, 'node_modules', 'oxlint', 'bin', 'oxlint');
  const output = await new Promise<string>((resolve) => {
    execFile(process.execPath, [oxlint, '--type-aware', '--format', 'json'], { cwd: root }, (_error, stdout) =>
      resolve(stdout),
    );
  });
  found = (JSON.parse(output) as { diagnostics: typeof found }).diagnostics;
}, 180_000);
afterAll(() => rm(root, { recursive: true, force: true }));

test.each(Object.entries(VIOLATIONS))('%s is refused', (path, { rule, says }) => {
  const complaints = found.filter(({ filename }) => filename === path);
  expect(complaints.map(({ code }) => code)).toContain(rule);
  if (says !== undefined) expect(JSON.stringify(complaints)).toContain(says);
});

test.each(Object.keys(ALLOWED))('%s is allowed', (path) => {
  expect(found.filter(({ filename }) => filename === path)).toEqual([]);
});
