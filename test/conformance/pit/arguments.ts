/** The command line of `npm run conformance:pit`. */
import { parseArgs } from 'node:util';
import { SerinError } from '../../../domain/errors.ts';
import { PATH_NAMES, type PathName } from './answer.ts';

export const USAGE = `usage: npm run conformance:pit -- [FILE.json] [--path kernel|duckdb|postgres|redis] [--answers OUT.json]
                              [--worlds N] [--seed S] [--write-worlds FILE.json]

Runs the cases of a file of the schema serin.pit/1 through every path (or the one that is named), prints what is wrong and
ends with "N passed, N failed". The answers are written to OUT.json, with several paths to OUT.kernel.json and so on.

  --worlds N         N random worlds too, judged by the oracle      --write-worlds FILE   writes them as a file of cases
  --seed S           of the worlds (a number; default 1)`;

export interface PitArguments {
  /** Null: worlds alone. */
  readonly file: string | null;
  readonly paths: readonly PathName[];
  readonly answers: string | null;
  readonly worlds: number;
  readonly seed: number;
  readonly writeWorlds: string | null;
}

/** @throws SerinError INPUT_INVALID with what is wrong */
export function readArguments(args: readonly string[]): PitArguments {
  let parsed;
  try {
    parsed = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        path: { type: 'string' },
        answers: { type: 'string' },
        worlds: { type: 'string' },
        seed: { type: 'string' },
        'write-worlds': { type: 'string' },
      },
    });
  } catch (error) {
    throw new SerinError('INPUT_INVALID', (error as Error).message);
  }
  const { values, positionals } = parsed;
  const worlds = wholeNumber('--worlds', values.worlds, values['write-worlds'] === undefined ? 0 : 1000);
  if (positionals.length > 1) throw new SerinError('INPUT_INVALID', `one file at a time, got ${positionals.join(' ')}`);
  if (positionals.length === 0 && worlds === 0) throw new SerinError('INPUT_INVALID', 'no file of cases is named');
  return {
    file: positionals[0] ?? null,
    paths: values.path === undefined ? PATH_NAMES : [pathNamed(values.path)],
    answers: values.answers ?? null,
    worlds,
    seed: wholeNumber('--seed', values.seed, 1),
    writeWorlds: values['write-worlds'] ?? null,
  };
}

function pathNamed(name: string): PathName {
  const found = PATH_NAMES.find((known) => known === name);
  if (found === undefined)
    throw new SerinError('INPUT_INVALID', `--path is one of ${PATH_NAMES.join(', ')}, not "${name}"`);
  return found;
}

function wholeNumber(option: string, text: string | undefined, absent: number): number {
  if (text === undefined) return absent;
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new SerinError('INPUT_INVALID', `${option} is a whole number, not "${text}"`);
}

/** `OUT.json`, or for one of several paths `OUT.kernel.json`. */
export function answersFile(answers: string, path: PathName, several: boolean): string {
  if (!several) return answers;
  return answers.endsWith('.json') ? `${answers.slice(0, -'.json'.length)}.${path}.json` : `${answers}.${path}`;
}
