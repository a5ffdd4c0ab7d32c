import { createHash, randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { chmod, copyFile, mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { BlobRef, BlobStore } from '../domain/blob.ts';
import { SerinError } from '../domain/errors.ts';

type Digest = Pick<BlobRef, 'sha256'>;

export interface FileBlobStoreOptions {
  /** SHA-256 of a file, in hexadecimal; given where this thread must not spend the seconds that gigabytes take. */
  readonly digestOf?: (path: string) => Promise<string>;
}

/**
 * Blobs in a folder, at `sha256/<first two digits>/<digest>`. A blob becomes visible by one rename of a finished, synced
 * file, so concurrent writers of the same bytes and a crash at any point leave either nothing or the whole blob.
 */
export class FileBlobStore implements BlobStore {
  readonly #root: string;
  readonly #digestOf: (path: string) => Promise<string>;
  /** Digest → identity of the file that was last found to match it, so that a large blob is not hashed at every use. */
  readonly #verified = new Map<string, string>();

  constructor(root: string, { digestOf = digestOfFile }: FileBlobStoreOptions = {}) {
    this.#root = root;
    this.#digestOf = digestOf;
  }

  async put(bytes: Uint8Array): Promise<BlobRef> {
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    return namingFullDisks(sha256, async () => {
      if (await this.#isIntact(sha256)) return reference(sha256, bytes.byteLength);
      const staged = await this.#stagingPath();
      try {
        const file = await open(staged, 'wx');
        try {
          await file.writeFile(bytes);
          await file.sync();
        } finally {
          await file.close();
        }
        await this.#publish(staged, sha256);
      } finally {
        await rm(staged, { force: true });
      }
      return reference(sha256, bytes.byteLength);
    });
  }

  async putFile(path: string): Promise<BlobRef> {
    const sha256 = await this.#digestOf(path);
    return namingFullDisks(sha256, async () => {
      const { size } = await stat(path);
      if (await this.#isIntact(sha256)) {
        await rm(path);
        return reference(sha256, size);
      }
      const staged = await this.#stagingPath();
      try {
        await moveFile(path, staged);
        await syncPath(staged);
        await this.#publish(staged, sha256);
      } finally {
        await rm(staged, { force: true });
      }
      return reference(sha256, size);
    });
  }

  async get({ sha256 }: Digest): Promise<Uint8Array> {
    const path = this.#path(sha256);
    const bytes = await readFile(path).catch((error: unknown) => refuse(error, sha256, path));
    const found = createHash('sha256').update(bytes).digest('hex');
    if (found !== sha256) throw corrupt(sha256, found, path);
    return bytes;
  }

  async localPath({ sha256 }: Digest): Promise<string> {
    const path = this.#path(sha256);
    const identity = await identityOf(path).catch((error: unknown) => refuse(error, sha256, path));
    if (this.#verified.get(sha256) === identity) return path;
    const found = await this.#digestOf(path);
    if (found !== sha256) throw corrupt(sha256, found, path);
    if (this.#verified.size >= VERIFIED_MAX) this.#verified.clear();
    this.#verified.set(sha256, identity);
    return path;
  }

  async has({ sha256 }: Digest): Promise<boolean> {
    try {
      await stat(this.#path(sha256));
      return true;
    } catch (error) {
      if (codeOf(error) === 'ENOENT') return false;
      throw error;
    }
  }

  async remove({ sha256 }: Digest): Promise<void> {
    await rm(this.#path(sha256), { force: true });
    this.#verified.delete(sha256);
  }

  /** A damaged blob is not intact: putting its bytes again repairs it. */
  async #isIntact(sha256: string): Promise<boolean> {
    try {
      await this.localPath({ sha256 });
      return true;
    } catch (error) {
      if (error instanceof SerinError && (error.code === 'BLOB_NOT_FOUND' || error.code === 'BLOB_CORRUPT'))
        return false;
      throw error;
    }
  }

  async #stagingPath(): Promise<string> {
    const folder = join(this.#root, 'staging');
    await mkdir(folder, { recursive: true });
    return join(folder, randomUUID());
  }

  async #publish(staged: string, sha256: string): Promise<void> {
    const path = this.#path(sha256);
    const folder = dirname(path);
    await chmod(staged, 0o444);
    if ((await mkdir(folder, { recursive: true })) !== undefined) {
      await syncPath(dirname(folder));
      await syncPath(this.#root);
    }
    await rename(staged, path);
    await syncPath(folder);
  }

  #path(sha256: string): string {
    if (!/^[0-9a-f]{64}$/.test(sha256)) {
      throw new SerinError('INPUT_INVALID', `'${sha256}' is not a SHA-256 digest (64 hexadecimal digits)`, {
        fields: { field: 'sha256', value: sha256 },
      });
    }
    return join(this.#root, 'sha256', sha256.slice(0, 2), sha256);
  }
}

/** @param blobUrl `file:///…`, checked by the configuration */
export function openBlobStore(blobUrl: string, options: FileBlobStoreOptions = {}): FileBlobStore {
  return new FileBlobStore(fileURLToPath(blobUrl), options);
}

const VERIFIED_MAX = 10_000;

function reference(sha256: string, bytes: number): BlobRef {
  return { uri: `sha256:${sha256}`, sha256, bytes };
}

async function digestOfFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

/** Changes whenever the bytes may have. */
async function identityOf(path: string): Promise<string> {
  const { ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true });
  return `${ino}:${size}:${mtimeNs}:${ctimeNs}`;
}

async function moveFile(from: string, to: string): Promise<void> {
  try {
    await rename(from, to);
  } catch (error) {
    if (codeOf(error) !== 'EXDEV') throw error;
    await copyFile(from, to);
    await rm(from);
  }
}

async function syncPath(path: string): Promise<void> {
  const file = await open(path, 'r');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

async function namingFullDisks<T>(sha256: string, write: () => Promise<T>): Promise<T> {
  try {
    return await write();
  } catch (error) {
    const code = codeOf(error);
    if (code !== 'ENOSPC' && code !== 'EDQUOT') throw error;
    throw new SerinError('STORAGE_FULL', `blob ${sha256} does not fit on the disk; free some space and try again`, {
      cause: error,
      fields: { sha256 },
    });
  }
}

function refuse(error: unknown, sha256: string, path: string): never {
  if (codeOf(error) !== 'ENOENT') throw error;
  throw new SerinError('BLOB_NOT_FOUND', `blob ${sha256} is not at ${path}`, { cause: error, fields: { sha256 } });
}

function corrupt(sha256: string, found: string, path: string): SerinError {
  return new SerinError('BLOB_CORRUPT', `the file ${path} should have digest ${sha256} but has ${found}`, {
    fields: { sha256, found },
  });
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined;
}
