/** Triton's own client tools, for tests: the Python client, and perf_analyzer with the libraries that its wheel leaves out. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, readdir } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { pythonEnvironment } from '../../setup/python-environment.ts';

const run = promisify(execFile);
/** The last wheel with perf_analyzer in it. */
const CLIENT = 'tritonclient[all]==2.50.0';
const CUDA_RUNTIME = 'nvidia-cuda-runtime-cu12==12.9.79';
const PROBE = 'import tritonclient.http.aio, tritonclient.grpc.aio, nvidia.cuda_runtime';
const CACHE = join(homedir(), '.cache', 'serin');
const DOWNLOAD_MS = 60_000;

/** @returns the folder of programs; null where it cannot be had, which is said */
export function tritonPrograms(): Promise<string | null> {
  return pythonEnvironment('oip-venv', [CLIENT, CUDA_RUNTIME], PROBE);
}

export interface PerfAnalyzer {
  /** @returns what it printed @throws when it did not end with 0 */
  run(args: readonly string[]): Promise<string>;
}

/** @returns null where it cannot be had, which is said */
export async function perfAnalyzer(): Promise<PerfAnalyzer | null> {
  const programs = await tritonPrograms();
  if (programs === null) return null;
  const program = join(programs, 'perf_analyzer');
  try {
    const { stdout: cuda } = await run(join(programs, 'python'), [
      '-c',
      'import nvidia.cuda_runtime as package; print(package.__path__[0] + "/lib")',
    ]);
    const env = { LD_LIBRARY_PATH: [cuda.trim(), await base64Library()].filter(Boolean).join(':') };
    await run(program, ['--version'], { env });
    return {
      async run(args) {
        const { stdout, stderr } = await run(program, [...args], { env, timeout: DOWNLOAD_MS });
        return stdout + stderr;
      },
    };
  } catch (error) {
    console.warn(`skipped: perf_analyzer does not run here (${String(error).split('\n')[0]})`);
    return null;
  }
}

/** libb64.so.0d: where the system has none, out of Debian's package, without installing it. @returns its folder; empty: the system's */
async function base64Library(): Promise<string> {
  const { stdout: libraries } = await run('ldconfig', ['-p']).catch(() => ({ stdout: '' }));
  if (libraries.includes('libb64.so.0d')) return '';
  const folder = join(CACHE, 'libb64');
  const unpacked = join(folder, 'usr', 'lib', `${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}-linux-gnu`);
  if (!existsSync(unpacked)) {
    await mkdir(folder, { recursive: true });
    await run('apt-get', ['download', 'libb64-0d'], { cwd: folder, timeout: DOWNLOAD_MS });
    const file = (await readdir(folder)).find((name) => name.endsWith('.deb'));
    if (file === undefined) throw new Error('apt-get gave no package libb64-0d');
    await run('dpkg', ['-x', join(folder, file), folder]);
  }
  return unpacked;
}
