import { closeSync, fsyncSync, mkdirSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { SerinError } from '../domain/errors.ts';

/**
 * Puts a file in place whole or not at all, and so that it outlives a crash. For a thread of its own: it blocks.
 * @throws SerinError STORAGE_FULL
 */
export function writeFileAtomically(path: string, bytes: Uint8Array): void {
  const folder = dirname(path);
  const unfinished = `${path}.${process.pid}.tmp`;
  try {
    mkdirSync(folder, { recursive: true });
    const file = openSync(unfinished, 'w');
    try {
      for (let written = 0; written < bytes.length;) written += writeSync(file, bytes, written);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(unfinished, path);
    syncFolder(folder);
  } catch (cause) {
    rmSync(unfinished, { force: true });
    const code = (cause as NodeJS.ErrnoException).code;
    if (code === 'ENOSPC' || code === 'EDQUOT')
      throw new SerinError('STORAGE_FULL', `${path} (${bytes.length} bytes) does not fit on the disk`, {
        cause,
        fields: { path },
      });
    throw cause;
  }
}

/** Makes the new name itself durable. */
function syncFolder(folder: string): void {
  const handle = openSync(folder, 'r');
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}
