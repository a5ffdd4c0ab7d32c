/** The point-in-time cases and random worlds through the online stores, and the command. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { checkWorlds } from '../conformance/pit/check-worlds.ts';
import type { Path } from '../conformance/pit/answer.ts';
import { openStorePath } from '../conformance/pit/paths/open.ts';
import { PUBLIC_CASES_ABSENT, publicCases, whyAbsent } from '../conformance/pit/public-cases.ts';
import { runPath } from '../conformance/pit/run.ts';
import { startTestRedis } from '../setup/redis-server.ts';
import { createTestDatabase } from '../setup/test-database.ts';

const WORLDS = 100;
const TIMEOUT_MS = 240_000;
const redis = await startTestRedis();
afterAll(() => redis?.close());

describe.each([
  { name: 'postgres' as const, there: true, url: () => createTestDatabase() },
  { name: 'redis' as const, there: redis !== null, url: async () => redis!.url },
])('path $name', ({ name, there, url }) => {
  let path: Path;

  beforeAll(async () => {
    if (there) path = await openStorePath(name, await url());
  });
  afterAll(async () => {
    if (there) await path.close();
  });

  test.skipIf(!there || PUBLIC_CASES_ABSENT)(
    `the public cases pass${whyAbsent}`,
    async () => {
      const { results } = await runPath(path, publicCases());
      expect(results.filter(({ reason }) => reason !== null)).toEqual([]);
      expect(results).toHaveLength(121);
    },
    TIMEOUT_MS,
  );

  test.skipIf(!there)(
    `${WORLDS} random worlds are answered as the oracle answers them`,
    () => checkWorlds(path, WORLDS),
    TIMEOUT_MS,
  );
});

describe('npm run conformance:pit', () => {
  let dir: string;
  beforeAll(() => (dir = mkdtempSync(join(tmpdir(), 'serin-pit-cli-'))));
  afterAll(() => rmSync(dir, { recursive: true }));

  const main = fileURLToPath(new URL('../../dist/test/conformance/pit/main.js', import.meta.url));
  const run = (...args: string[]) => {
    const { status, stdout, stderr } = spawnSync(process.execPath, [main, ...args], { encoding: 'utf8' });
    return { status, stderr, lines: stdout.trimEnd().split('\n') };
  };

  test('writes worlds, runs them, and writes the answers', () => {
    const [worlds, answers] = [join(dir, 'worlds.json'), join(dir, 'answers.json')];
    const { status, lines } = run(
      '--worlds',
      '3',
      '--seed',
      '9',
      '--write-worlds',
      worlds,
      '--path',
      'kernel',
      '--answers',
      answers,
    );
    expect([status, lines.at(-1)]).toEqual([0, '3 passed, 0 failed']);
    expect(Object.keys(JSON.parse(readFileSync(answers, 'utf8')) as object)).toEqual([
      'world-9-0',
      'world-9-1',
      'world-9-2',
    ]);

    const spoilt = readFileSync(worlds, 'utf8').replace(
      /"expected": \{"columns"/,
      '"expected": {"error": "NAME_CLASH", "columns"',
    );
    writeFileSync(worlds, spoilt);
    const again = run(worlds, '--path', 'kernel');
    expect([again.status, again.lines.at(-1)]).toEqual([1, '2 passed, 1 failed']);
    expect(again.lines[0]).toMatch(/^FAIL kernel world-9-0 .*no error \/ NAME_CLASH/);
  });

  test('a file that is none, and a command line that is none, end with 2', () => {
    const file = join(dir, 'other.json');
    writeFileSync(file, '{"schema": "serin.pit/9", "cases": []}');
    expect(run(file)).toMatchObject({ status: 2, stderr: expect.stringContaining('schema must be "serin.pit/1"') });
    expect(run(join(dir, 'missing.json'))).toMatchObject({
      status: 2,
      stderr: expect.stringContaining('missing.json'),
    });
    expect(run()).toMatchObject({ status: 2, stderr: expect.stringContaining('usage: ') });
  });
});
