import type { Command } from 'commander';
import { EXIT } from '../exit-codes.ts';
import { followOperation } from '../follow-operation.ts';
import { print } from '../output.ts';
import type { CliContext } from '../run-cli.ts';
import { type GlobalOptions, openSession } from '../session.ts';
import { durationMs } from './training.ts';

interface ConsistencyResult {
  readonly checkable: number;
  readonly checked: number;
  readonly mismatches: number;
  readonly sentence: string;
}

export function register(program: Command, { action }: CliContext): void {
  const consistency = program
    .command('consistency')
    .description('whether the features that were served are those of the log');

  consistency
    .command('check')
    .argument('<model>')
    .description("compute the features of the last hour's logged answers again; ends with 1 when one differs")
    .option('--no-wait', 'do not wait for its end')
    .addHelpText('after', '\nExample:\n  serin consistency check flight-delay')
    .action(
      action<GlobalOptions & { wait: boolean }>(async ({ output, options, args: [model] }) => {
        const { api } = await openSession(options, 'engineer');
        return followOperation<ConsistencyResult>(
          { api, output, wait: options.wait },
          `models/${model}/consistency-checks`,
          {},
          ({ result }) =>
            `${result!.sentence}\n${result!.checked} of ${result!.checkable} answers checked, ${result!.mismatches} mismatches`,
          ({ result }) => (result!.mismatches > 0 ? EXIT.failed : EXIT.done),
        );
      }),
    );

  consistency
    .command('watch')
    .argument('<model>')
    .description('do it from now on, and alert on the first difference')
    .option('--every <duration>', 'how often', '1h')
    .addHelpText('after', '\nExample:\n  serin consistency watch flight-delay --every 1h')
    .action(
      action<GlobalOptions & { every: string }>(async ({ output, options, args: [model] }) => {
        const { api } = await openSession(options, 'engineer');
        const answer = await api.put<{ workflowId: string; status: string; links: { temporal: string } }>(
          `models/${model}/consistency`,
          { everyMs: durationMs(options.every) },
        );
        print(output, answer, ({ workflowId, status, links }) => `${workflowId} is ${status}\n${links.temporal}`);
      }),
    );

  consistency
    .command('stop')
    .argument('<model>')
    .description('stop doing it')
    .addHelpText('after', '\nExample:\n  serin consistency stop flight-delay')
    .action(
      action<GlobalOptions>(async ({ output, options, args: [model] }) => {
        const { api } = await openSession(options, 'engineer');
        print(output, await api.delete<{ stopped: boolean }>(`models/${model}/consistency`), ({ stopped }) =>
          stopped ? 'stopped' : 'it was not under way',
        );
      }),
    );
}
