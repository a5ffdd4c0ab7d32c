import { resolve } from 'node:path';
import type { Command } from 'commander';
import { SerinError } from '../../domain/errors.ts';
import { followOperation } from '../follow-operation.ts';
import { fields } from '../output.ts';
import type { CliContext } from '../run-cli.ts';
import { type GlobalOptions, openSession } from '../session.ts';

interface ScoreOptions extends GlobalOptions {
  readonly input: string;
  readonly output: string;
  readonly version: string;
  readonly asOf?: string;
  readonly featuresReady?: boolean;
  readonly wait: boolean;
}
interface ScoreResult {
  readonly output: string;
  readonly version: number;
  readonly rows: number;
  readonly unscored: number;
  readonly positives: number;
  readonly files: number;
  readonly alreadyThere: boolean;
}

export function register(program: Command, { action }: CliContext): void {
  program
    .command('score')
    .argument('<model>')
    .description('score Parquet files into a folder of Parquet files')
    .requiredOption('--input <file>', 'a Parquet file, or a pattern of several in quotes')
    .requiredOption('--output <folder>', 'new or empty')
    .option('--version <version>', 'a version number, or champion', 'champion')
    .option('--as-of <column>', 'the column with the instant of each row, or one RFC 3339 instant for all')
    .option('--features-ready', 'the input has the features themselves: none are read from the log')
    .option('--no-wait', 'do not wait for its end')
    .addHelpText(
      'after',
      "\nExample:\n  serin score flight-delay --input 'flights/*.parquet' --output scores --as-of scheduled_at\n  serin score flight-delay --input features.parquet --output scores --version v2 --features-ready",
    )
    .action(
      action<ScoreOptions>(async ({ output, options, args: [model] }) => {
        const { api } = await openSession(options, 'engineer');
        const { asOf, featuresReady = false } = options;
        const version = readVersion(options.version);
        return followOperation<ScoreResult>(
          { api, output, wait: options.wait },
          `models/${model}/score-batches`,
          {
            input: resolve(options.input),
            output: resolve(options.output),
            ...(version !== undefined && { version }),
            ...(asOf !== undefined && (/^\d{4}-\d\d-\d\dT/.test(asOf) ? { asOf } : { asOfColumn: asOf })),
            featuresReady,
          },
          ({ result }) => scored(result!),
        );
      }),
    );
}

/** undefined: the champion. */
function readVersion(text: string): number | undefined {
  if (text === 'champion') return undefined;
  const number = /^v?(\d{1,7})$/.exec(text)?.[1];
  if (number !== undefined) return Number(number);
  throw new SerinError('INPUT_INVALID', `--version is "${text}", expected a number such as 2 or v2, or champion`);
}

function scored({ output, version, rows, unscored, positives, files, alreadyThere }: ScoreResult): string {
  return fields({
    version: `v${version}`,
    rows,
    'without a score': unscored,
    'label 1': positives,
    files,
    folder: alreadyThere ? `${output} (it was there)` : output,
  });
}
