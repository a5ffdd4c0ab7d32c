import type { Command } from 'commander';
import { migrate } from '../../db/migrate.ts';
import { loadConfig } from '../../platform/config.ts';
import { diagnose } from '../diagnose.ts';
import { EXIT } from '../exit-codes.ts';
import { print } from '../output.ts';
import type { CliContext } from '../run-cli.ts';
import { type GlobalOptions, homeOf, readPlatform } from '../session.ts';
import { register as registerUp } from './up.ts';

export function register(program: Command, context: CliContext): void {
  const { action } = context;
  registerUp(program, context);

  program
    .command('doctor')
    .description('check what Serin needs, and say the way out of what is missing')
    .addHelpText('after', '\nExample:\n  serin doctor\n\nEnds with 1 when something is missing.')
    .action(
      action<GlobalOptions>(async ({ output, options }) => {
        const checks = await diagnose({ home: homeOf(options) });
        print(output, { checks }, () =>
          checks
            .map(
              ({ name, ok, says, wayOut }) =>
                `${ok ? 'ok  ' : 'FAIL'}  ${name}: ${says}${wayOut === undefined ? '' : `\n      → ${wayOut}`}`,
            )
            .join('\n'),
        );
        return checks.every(({ ok }) => ok) ? EXIT.done : EXIT.failed;
      }),
    );

  const db = program.command('db').description('the database');
  db.command('migrate')
    .description('bring the schema up to date; safe when several do it at once')
    .addHelpText('after', '\nExample:\n  SERIN_DATABASE_URL=postgres://… serin db migrate')
    .action(
      action<GlobalOptions>(async ({ output, options }) => {
        const config = loadConfig();
        const platform = await readPlatform(homeOf(options));
        const url = config.given.has('SERIN_DATABASE_URL')
          ? config.databaseUrl
          : (platform?.databaseUrl ?? config.databaseUrl);
        const applied = await migrate(url);
        print(output, { applied }, () =>
          applied.length === 0 ? 'the schema is up to date' : `applied ${applied.join(', ')}`,
        );
      }),
    );
}
