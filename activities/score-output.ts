/** The output folder of a batch: whose it is, and how it becomes complete. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { SerinError } from '../domain/errors.ts';
import { SCORE_MANIFEST, type ScoredPart, type ScoreManifest, scorePartName } from '../domain/scoring/score-plan.ts';

/** Where finished parts wait for each other; a name that patterns of Parquet files do not match. */
function stagingOf(output: string, request: string): string {
  return join(output, `.serin-${request.slice(0, 16)}`);
}

/**
 * Makes the folder the request's own: it is new or empty, or what an earlier attempt at the same request left in it.
 * @param request digest
 * @returns the manifest where the request has been answered in full
 * @throws SerinError OUTPUT_EXISTS
 */
export async function claimOutput(output: string, request: string): Promise<ScoreManifest | null> {
  await mkdir(output, { recursive: true });
  const found = await readdir(output);
  const manifest = found.includes(SCORE_MANIFEST) ? await readManifest(join(output, SCORE_MANIFEST)) : null;
  if (manifest?.request === request) return manifest;
  const staging = stagingOf(output, request);
  if (found.length > 0 && !(await exists(staging))) {
    throw new SerinError(
      'OUTPUT_EXISTS',
      `${output} holds ${manifest === null ? `${found[0]}${found.length > 1 ? ` and ${found.length - 1} more` : ''}` : 'the answer to another request'}: name a new folder`,
      { fields: { output } },
    );
  }
  await mkdir(staging, { recursive: true });
  return null;
}

/** Where a part is written, to be handed to `keepPart`: no two attempts share a file. */
export async function partInMaking(output: string, request: string, attempt: string): Promise<string> {
  const staging = stagingOf(output, request);
  await mkdir(staging, { recursive: true });
  return join(staging, `.${attempt}`);
}

/** A finished part takes its place among those that wait. The same part again is the same file. */
export async function keepPart(
  output: string,
  request: string,
  part: number,
  written: string,
): Promise<Pick<ScoredPart, 'sha256' | 'bytes'>> {
  const identity = await identify(written);
  await sync(written);
  await rename(written, join(stagingOf(output, request), scorePartName(part)));
  return identity;
}

/**
 * Moves the parts into the folder and writes the manifest last: whoever finds one finds all of them. Can be repeated from any
 * point: a part that has been moved is known by its bytes.
 * @throws SerinError BLOB_NOT_FOUND, BLOB_CORRUPT for a part that is not there as it was written
 */
export async function completeOutput(
  output: string,
  parts: readonly ScoredPart[],
  manifest: Omit<ScoreManifest, 'files'>,
): Promise<ScoreManifest> {
  const staging = stagingOf(output, manifest.request);
  const files = parts.map(({ sha256, bytes, rows }, part) => ({ name: scorePartName(part), sha256, bytes, rows }));
  const moves: { readonly from: string; readonly to: string }[] = [];
  // all of them are looked at before the first one moves
  for (const { name, sha256 } of files) {
    const [from, to] = [join(staging, name), join(output, name)];
    const isMoved = !(await exists(from));
    const at = isMoved ? to : from;
    const found = (await exists(at)) ? (await identify(at)).sha256 : null;
    if (found !== sha256) {
      throw new SerinError(
        found === null ? 'BLOB_NOT_FOUND' : 'BLOB_CORRUPT',
        `${at}, a part of the scores, ${found === null ? 'is gone' : `has the digest ${found} instead of ${sha256}`}`,
      );
    }
    if (!isMoved) moves.push({ from, to });
  }
  for (const { from, to } of moves) await rename(from, to);
  const complete: ScoreManifest = { ...manifest, files };
  await mkdir(staging, { recursive: true });
  const written = join(staging, SCORE_MANIFEST);
  const file = await open(written, 'w');
  try {
    await file.writeFile(`${JSON.stringify(complete, null, 2)}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
  // what the folder lists is on the disk before it says that it is complete
  await sync(output);
  await rename(written, join(output, SCORE_MANIFEST));
  await sync(output);
  await rm(staging, { recursive: true, force: true });
  return complete;
}

/** Takes away what waits, of a batch that has been given up; a folder with nothing else in it goes too. */
export async function discardOutput(output: string, request: string): Promise<void> {
  await rm(stagingOf(output, request), { recursive: true, force: true });
  if ((await readdir(output).catch(() => ['unknown'])).length === 0) await rm(output, { recursive: true, force: true });
}

async function readManifest(path: string): Promise<ScoreManifest | null> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as ScoreManifest;
  } catch {
    return null; // somebody else's file
  }
}

async function identify(path: string): Promise<{ sha256: string; bytes: number }> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path, { highWaterMark: 1 << 20 }), hash);
  return { sha256: hash.digest('hex'), bytes: (await stat(path)).size };
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

async function sync(path: string): Promise<void> {
  const file = await open(path, 'r');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}
