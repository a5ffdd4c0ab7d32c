/** Runs contenders as child processes, one at a time. */
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { compiledModule } from '../../domain/compiled-module.ts';
import type { Job, Usage } from './contender.ts';
import type { Feast } from './feast.ts';
import type { LatestData } from './latest-data.ts';

const run = promisify(execFile);

/** Both sources and compiled files lie two folders below what has the Python file's folder. */
const FEAST_SCRIPT = fileURLToPath(new URL('feast_latest.py', sourceFolder()));

function sourceFolder(): URL {
  return new URL(import.meta.url.replace('/dist/bench/', '/bench/'));
}

export async function runContender(job: Job): Promise<Usage> {
  const path = join(job.workDir, `${job.work}.json`);
  await writeFile(path, JSON.stringify(job));
  const module = fileURLToPath(compiledModule(import.meta.url, './contender.ts'));
  return usageOf(await run(process.execPath, ['--enable-source-maps', module, path], { maxBuffer: 1 << 24 }));
}

/** The same join by Feast, as it is set up by default. */
export async function runFeast(feast: Feast, data: LatestData, output: string, workDir: string): Promise<Usage> {
  const path = join(workDir, 'latest-feast.json');
  await writeFile(path, JSON.stringify(data));
  return usageOf(await run(feast.python, [FEAST_SCRIPT, path, output], { cwd: workDir, maxBuffer: 1 << 24 }));
}

function usageOf({ stdout }: { stdout: string }): Usage {
  return JSON.parse(stdout.trim().split('\n').at(-1)!) as Usage;
}
