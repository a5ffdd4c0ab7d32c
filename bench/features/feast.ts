/** Feast, in a Python environment of its own that is made when it is first wanted. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

const VERSION = '0.67.0';
const VENV = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'serin', 'bench-venv');

export interface Feast {
  readonly python: string;
  readonly version: string;
}

/** @returns why there is none, in a sentence, when Python or the package cannot be had */
export async function obtainFeast(say: (line: string) => void): Promise<Feast | string> {
  const python = join(VENV, 'bin', 'python');
  try {
    if (!existsSync(python)) {
      say(`installing feast ${VERSION} from PyPI into ${VENV}`);
      await mkdir(dirname(VENV), { recursive: true });
      await run('python3', ['-m', 'venv', VENV]);
    }
    if ((await installed(python)) === null) {
      await run(python, ['-m', 'pip', 'install', '--quiet', `feast==${VERSION}`, 'ibis-framework[duckdb]'], {
        timeout: 600_000,
      });
    }
    const version = await installed(python);
    return version === null ? `feast ${VERSION} was installed but cannot be imported` : { python, version };
  } catch (error) {
    return `Feast could not be installed (${String((error as Error).message).split('\n')[0]})`;
  }
}

async function installed(python: string): Promise<string | null> {
  try {
    const { stdout } = await run(python, [
      '-c',
      'import importlib.metadata as m; import ibis; print(m.version("feast"))',
    ]);
    return stdout.trim();
  } catch {
    return null;
  }
}
