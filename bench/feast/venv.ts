import { execFile } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { loadConfig } from '../../platform/config.ts';

const run = promisify(execFile);

export const FEAST_VERSION = '0.67.0';
const INSTALL_TIMEOUT_MS = 900_000;

export interface FeastVenv {
  readonly python: string;
  readonly feast: string;
}

/**
 * A Python environment with Feast, made once per machine in the user's cache and shared by the benchmarks.
 * @param extras of the package: the stores that are measured
 * @returns a sentence when there is none and none can be made
 */
export async function feastVenv(
  extras: readonly string[],
  onProgress: (line: string) => void,
): Promise<FeastVenv | string> {
  const folder = join(loadConfig().cacheDir, 'serin', 'bench-venv');
  const [python, feast] = [join(folder, 'bin', 'python'), join(folder, 'bin', 'feast')];
  const marker = join(folder, 'serin-feast-extras.json');
  const wanted = `feast==${FEAST_VERSION}`;
  try {
    const installed = JSON.parse(await readFile(marker, 'utf8').catch(() => '[]')) as string[];
    const missing = extras.filter((extra) => !installed.includes(`${wanted} ${extra}`));
    if (missing.length === 0) return { python, feast };
    onProgress(`installing ${wanted} with ${missing.join(', ')} into ${folder} (once per machine)`);
    await mkdir(folder, { recursive: true });
    await run(python, ['--version']).catch(() => run('python3', ['-m', 'venv', folder]));
    const requirement = `feast[${missing.join(',')}]==${FEAST_VERSION}`;
    await run(python, ['-m', 'pip', 'install', '--quiet', requirement], { timeout: INSTALL_TIMEOUT_MS });
    await writeFile(marker, JSON.stringify([...installed, ...missing.map((extra) => `${wanted} ${extra}`)]));
    return { python, feast };
  } catch (error) {
    const reason = error instanceof Error ? error.message.trim().split('\n').at(-1)! : String(error);
    return `Feast ${FEAST_VERSION} could not be installed (${reason})`;
  }
}
