import { readFileSync } from 'node:fs';
import { cpus } from 'node:os';
import type { TrainerSpec } from '../domain/training/trainer-spec.ts';

/** What a result depends on beside the dataset, for the record of the run. */
export interface TrainingEnvironment {
  readonly node: string;
  readonly serin: string;
  readonly cpu: string;
  readonly platform: string;
  readonly seed: number;
  readonly spec: TrainerSpec;
}

export function trainingEnvironment(spec: TrainerSpec, seed: number): TrainingEnvironment {
  return {
    node: process.versions.node,
    serin: serinVersion(),
    cpu: cpus()[0]?.model ?? 'unknown',
    platform: `${process.platform}/${process.arch}`,
    seed,
    spec,
  };
}

/** The nearest package.json above this module: one folder further from `dist/` than from the sources. */
function serinVersion(): string {
  for (const relative of ['../package.json', '../../package.json'])
    try {
      const { name, version } = JSON.parse(readFileSync(new URL(relative, import.meta.url), 'utf8')) as Record<
        string,
        unknown
      >;
      if (name === 'serin') return String(version);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  return 'unknown';
}

/** CPU seconds of the calling thread so far, to about 10 ms; null where the system does not tell threads apart. */
export function threadCpuSeconds(): number | null {
  if (process.platform !== 'linux') return null;
  const stat = readFileSync('/proc/thread-self/stat', 'latin1');
  // The thread's name, in parentheses, may hold spaces; fields 14 and 15 of the line are user and system time.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / CLOCK_TICKS_PER_SECOND;
}

/** Linux's USER_HZ, which is 100 on every architecture Node runs on. */
const CLOCK_TICKS_PER_SECOND = 100;
