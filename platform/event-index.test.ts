import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type EventIndexFile, FENCE_BYTES, ID_BYTES, PAGE_IDS } from '../domain/features/event-index.ts';
import { openEventIndex } from './event-index.ts';
import { FileBlobStore } from './file-blob-store.ts';

let workDir: string;
let blobs: FileBlobStore;

beforeAll(async () => {
  workDir = await mkdtemp(join(tmpdir(), 'serin-event-index-'));
  blobs = new FileBlobStore(workDir);
});
afterAll(() => rm(workDir, { recursive: true, force: true }));

function idOf(n: number | string): string {
  return uuid(createHash('sha256').update(String(n)).digest('hex').slice(0, 32));
}

function uuid(hex: string): string {
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}

async function aFile(ids: readonly string[]): Promise<EventIndexFile> {
  const sorted = ids.map((id) => Buffer.from(id.replaceAll('-', ''), 'hex')).toSorted((a, b) => a.compare(b));
  const fences = sorted.filter((_, i) => i % PAGE_IDS === 0).map((id) => id.subarray(0, FENCE_BYTES));
  return { blob: await blobs.put(Buffer.concat([...sorted, ...fences])), ids: sorted.length };
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, i) => from + i);
}

test('finds what is there and nothing else, in many files asked at a time', async () => {
  const files = await Promise.all(range(0, 8).map((f) => aFile(range(f * 500, f * 500 + 60 * (f + 1)).map(idOf))));
  const index = openEventIndex(blobs);
  const answers = await Promise.all(range(0, 3).map(() => index.stored(files, range(0, 4_500).map(idOf))));
  const there = range(0, 4_500).filter((n) => files.some((file, f) => n >= f * 500 && n < f * 500 + file.ids));
  for (const answer of answers) expect(answer).toEqual(new Set(there.map(idOf)));
  index.close();
  // what was closed is opened again
  expect(await index.stored(files, [idOf(0), idOf('not there')])).toEqual(new Set([idOf(0)]));
  index.close();
});

test('ids that share their beginning are told apart, also across pages', async () => {
  const near = range(0, 2_000).map((n) => uuid(`0123456789abcdef${n.toString(16).padStart(16, '0')}`));
  const index = openEventIndex(blobs);
  const even = near.filter((_, i) => i % 2 === 0);
  const file = await aFile([...even, ...range(0, 700).map(idOf)]);
  expect(await index.stored([file], near)).toEqual(new Set(even));
  index.close();
});

test('more files than may be open at a time are all asked', async () => {
  const files: EventIndexFile[] = [];
  for (const n of range(0, 260)) files.push(await aFile([idOf(n)]));
  const index = openEventIndex(blobs);
  for (const _ of ['once', 'again']) {
    expect((await index.stored(files, range(0, 300).map(idOf))).size).toBe(260);
  }
  index.close();
});

test('a file that is not there, or is no index, is an error and no answer', async () => {
  const index = openEventIndex(blobs);
  const missing = { blob: { uri: '', sha256: 'a'.repeat(64), bytes: 0 }, ids: 1 };
  await expect(index.stored([missing], [idOf(1)])).rejects.toMatchObject({ code: 'BLOB_NOT_FOUND' });
  const short = { blob: await blobs.put(Buffer.alloc(ID_BYTES)), ids: 1 };
  await expect(index.stored([short], [idOf(1)])).rejects.toThrow(RangeError);
  index.close();
});
