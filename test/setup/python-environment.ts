import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const CACHE = join(homedir(), '.cache', 'serin');
const INSTALL_MS = 240_000;

/**
 * A Python environment with foreign tools in it, made once per machine.
 * @param requirements as pip takes them
 * @param probe        a Python statement that fails unless they are there
 * @returns its folder of programs; null where there is no Python or no package index, which is said
 */
export async function pythonEnvironment(
  name: string,
  requirements: readonly string[],
  probe: string,
): Promise<string | null> {
  const folder = join(CACHE, name);
  const programs = join(folder, 'bin');
  const python = join(programs, 'python');
  try {
    if (!existsSync(python)) {
      await mkdir(CACHE, { recursive: true });
      await run('python3', ['-m', 'venv', folder]);
    }
    // what is there needs no index, and no time
    await run(python, ['-c', probe]).catch(() =>
      run(python, ['-m', 'pip', 'install', '-q', ...requirements], { timeout: INSTALL_MS }),
    );
    await run(python, ['-c', probe]);
    return programs;
  } catch (error) {
    console.warn(`skipped: ${requirements.join(', ')} could not be installed (${String(error).split('\n')[0]})`);
    return null;
  }
}
