import type { Command } from 'commander';
import { SerinError } from '../../domain/errors.ts';
import { compiledModule } from '../../domain/compiled-module.ts';
import type { CliContext } from '../run-cli.ts';
import type { GlobalOptions } from '../session.ts';

interface DemoOptions extends GlobalOptions {
  readonly exit?: boolean;
  readonly sample?: string;
}

/** `cli/demo/demo.ts`, read when it is asked for: the platform and the data come with it. */
interface DemoModule {
  readonly runDemo: (options: {
    readonly exit: boolean;
    readonly sample: number;
    readonly home?: string;
  }) => Promise<number>;
}

export function register(program: Command, { action }: CliContext): void {
  program
    .command('demo')
    .description('run the whole life of a model on real flights')
    .option('--exit', 'end when the demo ends; 0 only if every step came out as described')
    .option('--sample <share>', 'share of the flights, 0 to 1', '1')
    .addHelpText('after', '\nExample:\n  serin demo --exit --sample 0.05')
    .action(
      action<DemoOptions>(async ({ options }) => {
        const { runDemo } = (await import(compiledModule(import.meta.url, '../demo/demo.ts'))) as DemoModule;
        return runDemo({
          exit: options.exit === true || process.stdout.isTTY !== true,
          sample: readShare(options.sample ?? '1'),
          ...(options.home !== undefined && { home: options.home }),
        });
      }),
    );
}

function readShare(text: string): number {
  const share = Number(text);
  if (share > 0 && share <= 1) return share;
  throw new SerinError('INPUT_INVALID', `--sample is "${text}", expected a share above 0 and at most 1`);
}
