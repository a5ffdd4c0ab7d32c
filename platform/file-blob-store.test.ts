import { execFileSync } from 'node:child_process';
import { chmod, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { FileBlobStore, openBlobStore } from './file-blob-store.ts';

let root: string;
let store: FileBlobStore;
const bytes = (text: string) => new TextEncoder().encode(text);

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'serin-blobs-'));
  store = new FileBlobStore(join(root, 'blobs'));
});
afterEach(() => rm(root, { recursive: true, force: true }));

const leftovers = () => readdir(join(root, 'blobs', 'staging'));

test('bytes come back under the digest of their content', async () => {
  const ref = await store.put(bytes('abc'));
  expect(ref).toEqual({
    uri: 'sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad',
    sha256: 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad',
    bytes: 3,
  });
  expect(new TextDecoder().decode(await store.get(ref))).toBe('abc');
  expect(await store.has(ref)).toBe(true);
  expect(await leftovers()).toEqual([]);
});

test('a finished file is taken over and leaves its old place', async () => {
  const path = join(root, 'model.onnx');
  await writeFile(path, 'model');
  const ref = await store.putFile(path);
  expect(ref).toEqual(await store.put(bytes('model')));
  await expect(stat(path)).rejects.toMatchObject({ code: 'ENOENT' });
  expect(await readFile(await store.localPath(ref), 'utf8')).toBe('model');
  expect(((await stat(await store.localPath(ref))).mode & 0o222).toString(8)).toBe('0');
});

test('concurrent puts of the same bytes give one intact blob', async () => {
  const content = new Uint8Array(300_000).fill(7);
  const refs = await Promise.all(Array.from({ length: 20 }, () => store.put(content)));
  expect(new Set(refs.map((ref) => ref.sha256)).size).toBe(1);
  expect(await store.get(refs[0]!)).toHaveLength(300_000);
  expect(await leftovers()).toEqual([]);
});

test('a missing blob is named', async () => {
  const sha256 = '0'.repeat(64);
  await expect(store.get({ sha256 })).rejects.toMatchObject({ code: 'BLOB_NOT_FOUND', fields: { sha256 } });
  await expect(store.localPath({ sha256 })).rejects.toMatchObject({ code: 'BLOB_NOT_FOUND' });
  expect(await store.has({ sha256 })).toBe(false);
});

test('a digest that could be a path is refused', async () => {
  await expect(store.get({ sha256: '../../etc/passwd' })).rejects.toMatchObject({ code: 'INPUT_INVALID' });
});

test.each(['flipped', 'truncated'])(
  'a %s blob is refused by every reader, and repaired by the next put',
  async (damage) => {
    const ref = await store.put(bytes('payload'));
    const path = await store.localPath(ref);
    await chmod(path, 0o644);
    if (damage === 'flipped') await writeFile(path, 'paYload');
    else await truncate(path, 3);
    await expect(store.get(ref)).rejects.toMatchObject({ code: 'BLOB_CORRUPT', fields: { sha256: ref.sha256 } });
    await expect(store.localPath(ref)).rejects.toMatchObject({ code: 'BLOB_CORRUPT' });
    await store.put(bytes('payload'));
    expect(new TextDecoder().decode(await store.get(ref))).toBe('payload');
  },
);

test('a full disk is named and leaves nothing behind', async ({ skip }) => {
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'serin-test', root], { stdio: 'ignore' });
  } catch {
    skip('this user may not mount a small file system');
  }
  try {
    await expect(store.put(new Uint8Array(1 << 20))).rejects.toMatchObject({ code: 'STORAGE_FULL' });
    expect(await leftovers()).toEqual([]);
    await store.put(bytes('small'));
  } finally {
    execFileSync('umount', [root]);
  }
});

test('a file is hashed where its owner says, once, and refused by what it says', async () => {
  const hashed: string[] = [];
  const ref = await store.put(bytes('model'));
  const url = pathToFileURL(join(root, 'blobs')).href;
  const elsewhere = openBlobStore(url, {
    digestOf: (path) => {
      hashed.push(path);
      return Promise.resolve(ref.sha256);
    },
  });
  const path = await elsewhere.localPath(ref);
  expect(await elsewhere.localPath(ref)).toBe(path);
  expect(hashed).toEqual([path]);
  const liar = openBlobStore(url, { digestOf: () => Promise.resolve('0'.repeat(64)) });
  await expect(liar.localPath(ref)).rejects.toMatchObject({ code: 'BLOB_CORRUPT' });
});

test('a store opens from its URL', async () => {
  const ref = await openBlobStore(pathToFileURL(join(root, 'blobs')).href).put(bytes('x'));
  expect(await store.has(ref)).toBe(true);
});
