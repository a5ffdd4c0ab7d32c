import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { ScoredPart, ScoreManifest } from '../domain/scoring/score-plan.ts';
import { claimOutput, completeOutput, discardOutput, keepPart, partInMaking } from './score-output.ts';

const REQUEST = '0123456789abcdef0123456789abcdef';
const OTHER = 'fedcba9876543210fedcba9876543210';

let dir: string;
let output: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'serin-score-output-'));
  output = join(dir, 'a', 'scores');
});
afterEach(() => rm(dir, { recursive: true, force: true }));

const manifest: Omit<ScoreManifest, 'files'> = {
  format: 1,
  request: REQUEST,
  plan: 'sha256-of-the-plan',
  batch: 'batch',
  model: 'delay',
  version: 1,
  versionSha256: 'sha256-of-the-version',
  featureSet: 'features@1',
  asOf: null,
  knownSeq: null,
  inputs: [],
  rows: 2,
  unscored: 0,
  positives: 1,
};

async function write(part: number, text: string): Promise<ScoredPart> {
  const path = await partInMaking(output, REQUEST, `attempt-${Math.random()}`);
  await writeFile(path, text);
  return { ...(await keepPart(output, REQUEST, part, path)), rows: 1, unscored: 0, positives: part };
}

test('parts are nowhere to be seen until all are there, and then the folder holds them and nothing else', async () => {
  expect(await claimOutput(output, REQUEST)).toBeNull();
  const parts = [await write(0, 'first'), await write(1, 'second')];
  expect((await readdir(output)).filter((name) => name.endsWith('.parquet'))).toEqual([]);
  const complete = await completeOutput(output, parts, manifest);
  expect((await readdir(output)).toSorted()).toEqual(['_manifest.json', 'part-00000.parquet', 'part-00001.parquet']);
  expect(await readFile(join(output, 'part-00001.parquet'), 'utf8')).toBe('second');
  expect(complete.files.map(({ sha256 }) => sha256)).toEqual(parts.map(({ sha256 }) => sha256));
  expect(await claimOutput(output, REQUEST)).toEqual(complete);
});

test('a crash between any two steps of the move is gone on from, to the same folder', async () => {
  await claimOutput(output, REQUEST);
  const parts = [await write(0, 'first'), await write(1, 'second')];
  const whole = await completeOutput(output, parts, manifest);
  const before = await readFile(join(output, '_manifest.json'), 'utf8');
  // all moved, nothing said: as if it had died before the manifest
  await rm(join(output, '_manifest.json'));
  expect(await completeOutput(output, parts, manifest)).toEqual(whole);
  // the first moved, the second not
  await rm(join(output, '_manifest.json'));
  await rm(join(output, 'part-00001.parquet'));
  await write(1, 'second');
  expect(await completeOutput(output, parts, manifest)).toEqual(whole);
  // said, and told nobody
  expect(await completeOutput(output, parts, manifest)).toEqual(whole);
  expect(await readFile(join(output, '_manifest.json'), 'utf8')).toBe(before);
});

test('a part that is scored again takes the place of the first', async () => {
  await claimOutput(output, REQUEST);
  await write(0, 'first');
  const again = await write(0, 'first');
  await completeOutput(output, [again], manifest);
  expect((await readdir(output)).toSorted()).toEqual(['_manifest.json', 'part-00000.parquet']);
});

test('a part that is not as it was written, or gone, moves none of them', async () => {
  await claimOutput(output, REQUEST);
  const parts = [await write(0, 'first'), await write(1, 'second')];
  await write(1, 'something else');
  await expect(completeOutput(output, parts, manifest)).rejects.toMatchObject({ code: 'BLOB_CORRUPT' });
  await expect(completeOutput(output, [...parts.slice(0, 1), parts[0]!, parts[1]!], manifest)).rejects.toThrow();
  expect((await readdir(output)).filter((name) => !name.startsWith('.'))).toEqual([]);
});

test("a folder with somebody's files, or another request's answer, is refused and left alone", async () => {
  await mkdir(output, { recursive: true });
  await writeFile(join(output, 'mine.txt'), 'mine');
  await expect(claimOutput(output, REQUEST)).rejects.toMatchObject({ code: 'OUTPUT_EXISTS' });
  expect(await readdir(output)).toEqual(['mine.txt']);
  const second = join(dir, 'second');
  await claimOutput(second, REQUEST);
  await expect(claimOutput(second, OTHER)).rejects.toMatchObject({ code: 'OUTPUT_EXISTS' });
  expect(await claimOutput(second, REQUEST)).toBeNull();
});

test('a batch that is given up leaves no folder, unless something else is in it', async () => {
  await claimOutput(output, REQUEST);
  await write(0, 'first');
  await discardOutput(output, REQUEST);
  await discardOutput(output, REQUEST);
  expect(await readdir(join(dir, 'a'))).toEqual([]);
  await claimOutput(output, REQUEST);
  await writeFile(join(output, 'mine.txt'), 'mine');
  await discardOutput(output, REQUEST);
  expect(await readdir(output)).toEqual(['mine.txt']);
});
