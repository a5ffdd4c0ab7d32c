import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { PathName } from './answer.ts';
import { answersFile, readArguments } from './arguments.ts';
import { readCaseFile } from './case-file.ts';
import type { Answer } from './case-types.ts';
import { writeJson } from './case-values.ts';
import { verdict } from './judge.ts';
import { answerByOracle } from './oracle-answer.ts';
import { openPath } from './paths/open.ts';
import { CHECK_PY, PUBLIC_CASES, PUBLIC_CASES_ABSENT, publicCases, whyAbsent } from './public-cases.ts';
import { answersOf, type PathResult, runPath } from './run.ts';

const PUBLIC_COUNT = 121;

async function run(name: PathName): Promise<PathResult> {
  const path = await openPath(name);
  try {
    return await runPath(path, publicCases());
  } finally {
    await path.close();
  }
}

describe.skipIf(PUBLIC_CASES_ABSENT)(`the public cases${whyAbsent}`, () => {
  test.each(['kernel', 'duckdb'] as const)(
    'pass on path %s',
    async (name) => {
      const { results } = await run(name);
      expect(results.filter(({ reason }) => reason !== null)).toEqual([]);
      expect(results).toHaveLength(PUBLIC_COUNT);
    },
    120_000,
  );

  test('are answered by the oracle too', () => {
    for (const given of publicCases()) {
      if ('unreadable' in given || given.expected === null || 'error' in given.expected) continue;
      expect([given.id, verdict(given, answerByOracle(given))]).toEqual([given.id, null]);
    }
  });
});

const python = spawnSync('python3', ['--version']).status === 0;
const judged = python && !PUBLIC_CASES_ABSENT;

describe.skipIf(!judged)(`check.py${judged ? '' : ' (skipped: there is no python3, or no shared folder)'}`, () => {
  test('finds right what is found right here', async () => {
    expect(failuresByPython(answersOf(await run('kernel')))).toEqual([]);
  });

  test('finds wrong what is found wrong here', async () => {
    const answers = answersOf(await run('kernel'));
    const cases = publicCases().flatMap((given) => ('unreadable' in given ? [] : [given]));
    const spoilt: Record<string, Answer> = {};
    for (const [i, { id }] of cases.entries()) {
      const wrong = SPOILS[i % SPOILS.length]!(answers[id]!);
      if (wrong !== null) spoilt[id] = wrong;
    }
    const wrongHere = cases.filter((given) => {
      const answer = spoilt[given.id];
      return answer === undefined || verdict(given, answer) !== null;
    });
    expect(wrongHere.length).toBeGreaterThan(PUBLIC_COUNT / 2);
    expect(failuresByPython(spoilt)).toEqual(wrongHere.map(({ id }) => id));
  });
});

/** Ways to be wrong, and some that are not: null is no answer. */
const SPOILS: readonly ((answer: Answer) => Answer | null)[] = [
  () => null,
  () => ({ error: 'TIME_INVALID' }),
  (answer) => ('error' in answer ? { rows: [], status: {} } : { ...answer, rows: answer.rows.slice(1) }),
  (answer) => ('error' in answer ? answer : { ...answer, rows: answer.rows.map((row) => row.slice(1)) }),
  (answer) => ('error' in answer ? answer : { ...answer, rows: answer.rows.map((row) => row.with(-1, 17)) }),
  (answer) => ('error' in answer ? answer : { ...answer, rows: answer.rows.map((row) => row.with(-1, null)) }),
  (answer) => ('error' in answer ? answer : { ...answer, status: { ...answer.status, stranger: [] } }),
  (answer) =>
    'error' in answer
      ? answer
      : {
          ...answer,
          rows: answer.rows.map((row) => row.map((value) => (typeof value === 'number' ? value * (1 + 1e-10) : value))),
        },
  (answer) =>
    'error' in answer
      ? answer
      : {
          ...answer,
          rows: answer.rows.map((row) => row.map((value) => (typeof value === 'number' ? value * (1 + 1e-8) : value))),
        },
  (answer) => answer,
];

/** Ids of the cases that check.py finds wrong. */
function failuresByPython(answers: Record<string, Answer>): string[] {
  const dir = mkdtempSync(join(tmpdir(), 'serin-pit-'));
  try {
    const file = join(dir, 'answers.json');
    writeFileSync(file, writeJson(answers));
    const { stdout } = spawnSync('python3', [CHECK_PY, PUBLIC_CASES, file], { encoding: 'utf8' });
    expect(stdout).toMatch(/\d+\/\d+ pass\n$/);
    return [...stdout.matchAll(/^FAIL (\S+)/gm)].map(([, id]) => id!);
  } finally {
    rmSync(dir, { recursive: true });
  }
}

describe.skipIf(!python)('answers as JSON', () => {
  test.each([2 ** 53, 1.2345678901234567e20, -1e300, 0.1, 5e-324, 1e16 + 2])(
    '%d is read back as itself by a reader that has whole numbers of any size',
    (number) => {
      const program = `import json, sys; print(json.loads(sys.argv[1]) == float.fromhex(sys.argv[2]))`;
      const said = execFileSync('python3', ['-c', program, writeJson(number), hexOf(number)], { encoding: 'utf8' });
      expect(said.trim()).toBe('True');
    },
  );
});

/** A double as Python's `float.fromhex` takes it: an integer times a power of two. */
function hexOf(number: number): string {
  let exponent = 0;
  let mantissa = Math.abs(number);
  for (; !Number.isInteger(mantissa); exponent--) mantissa *= 2;
  return `${number < 0 ? '-' : ''}0x${BigInt(mantissa).toString(16)}p${exponent}`;
}

describe('a file that is none', () => {
  const aCase = {
    id: 'one',
    sources: { s: { key: [], columns: [{ name: 'x', type: 'i64' }], identity: 'append', rows: [] } },
    spine: { columns: [{ name: 'as_of', type: 'ts' }], as_of: 'as_of', rows: [] },
    views: [{ name: 'v', source: 's', features: [{ name: 'x', fn: 'latest', column: 'x' }] }],
  };
  const fileOf = (overrides: object): string =>
    JSON.stringify({ schema: 'serin.pit/1', cases: [{ ...aCase, ...overrides }] });
  const unreadable = (overrides: object): string => {
    const [read] = readCaseFile(fileOf(overrides), 'cases.json');
    return 'unreadable' in read! ? read.unreadable : 'readable';
  };

  test('is refused with the field that is wrong', () => {
    expect(() => readCaseFile('{"schema": "serin.pit/1", "cases": [', 'cases.json')).toThrow(
      /^cases\.json is no JSON: /,
    );
    expect(() => readCaseFile('[]', 'cases.json')).toThrow('must be an object');
    expect(() => readCaseFile('{"schema": "serin.pit/2", "cases": []}', 'cases.json')).toThrow(
      'schema must be "serin.pit/1", got "serin.pit/2"',
    );
    expect(() => readCaseFile('{"schema": "serin.pit/1"}', 'cases.json')).toThrow('cases must be a list, got nothing');
    expect(() => readCaseFile('{"schema": "serin.pit/1", "cases": [{}]}', 'cases.json')).toThrow(
      'cases[0].id must be text, got nothing',
    );
  });

  test('a case that is none fails alone, with its field', () => {
    expect(unreadable({})).toBe('readable');
    expect(unreadable({ spine: { ...aCase.spine, as_of: 7 } })).toBe('cases[0].spine.as_of must be text, got 7');
    expect(unreadable({ lables: [] })).toMatch(/^cases\[0\]\.lables is no field of the schema/);
    expect(
      unreadable({ views: [{ ...aCase.views[0], features: [{ name: 'x', fn: 'median', column: 'x' }] }] }),
    ).toMatch(/^cases\[0\]\.views\[0\]\.features\[0\]\.fn must be one of count, sum, .*, got "median"$/);
    expect(unreadable({ views: [{ ...aCase.views[0], ttl_us: 1.5 }] })).toBe(
      'cases[0].views[0].ttl_us must be a whole number, got 1.5',
    );
  });

  test('values that are not of their type fail their case', async () => {
    const row = { key: [], event_at: '2024-01-01T00:00:00Z', available_at: null, seq: 1, v: { x: 5 } };
    const cases = readCaseFile(fileOf({ sources: { s: { ...aCase.sources.s, rows: [row] } } }), 'cases.json');
    const path = await openPath('kernel');
    const { results } = await runPath(path, cases);
    expect(results[0]!.reason).toBe('no answer: sources.s.rows[0].v.x must be a 64-bit integer as decimal text, got 5');
  });
});

describe('the command line', () => {
  test('names a file, and takes every path unless one is named', () => {
    expect(readArguments(['a.json'])).toMatchObject({
      file: 'a.json',
      paths: ['kernel', 'duckdb', 'postgres', 'redis'],
      answers: null,
    });
    expect(readArguments(['a.json', '--path', 'redis', '--answers', 'o.json'])).toMatchObject({
      paths: ['redis'],
      answers: 'o.json',
    });
    expect(readArguments(['--worlds', '5'])).toMatchObject({ file: null, worlds: 5, seed: 1 });
  });

  test.each([
    [[], 'no file of cases is named'],
    [['a.json', 'b.json'], 'one file at a time'],
    [['a.json', '--path', 'spark'], 'not "spark"'],
    [['--worlds', 'many'], '--worlds is a whole number'],
    [['a.json', '--pathh', 'redis'], '--pathh'],
  ])('refuses %j', (args, message) => expect(() => readArguments(args)).toThrow(message));

  test('the answers of several paths go to a file each', () => {
    expect(answersFile('out.json', 'kernel', false)).toBe('out.json');
    expect(answersFile('out.json', 'kernel', true)).toBe('out.kernel.json');
    expect(answersFile('out', 'redis', true)).toBe('out.redis');
  });
});
