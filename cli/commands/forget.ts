import type { Command } from 'commander';
import { SerinError } from '../../domain/errors.ts';
import type { ForgetReport } from '../../domain/features/forget-report.ts';
import { followOperation } from '../follow-operation.ts';
import { table } from '../output.ts';
import type { CliContext } from '../run-cli.ts';
import { type GlobalOptions, openSession } from '../session.ts';

interface ForgetOptions extends GlobalOptions {
  readonly key: readonly string[];
  readonly reason: string;
  readonly project?: string;
  readonly request?: string;
  readonly wait: boolean;
}

export function register(program: Command, { action }: CliContext): void {
  program
    .command('forget')
    .argument('<entity>')
    .description('remove one entity from log, online store, predictions and datasets, for good, and prove it by a scan')
    .requiredOption('--key <part=value...>', 'every part of the key')
    .requiredOption('--reason <text>', 'for the record')
    .option('--project <name>', 'where several projects have such an entity')
    .option('--request <id>', 'names the request; a request that failed goes on under its id')
    .option('--no-wait', 'do not wait for its end')
    .addHelpText('after', "\nExample:\n  serin forget customer --key customer=c-4711 --reason 'asked to, ticket 815'")
    .action(
      action<ForgetOptions>(async ({ output, options, args: [entity] }) => {
        const { reason, project, request, wait } = options;
        const { api } = await openSession(options, 'operator');
        const body = {
          key: keyOf(options.key),
          reason,
          ...(project !== undefined && { project }),
          ...(request !== undefined && { requestId: request }),
        };
        return followOperation<ForgetReport>({ api, output, wait }, `entities/${entity}/forget`, body, ({ result }) => {
          const { places, blobsRemoved, blobsKept } = result!;
          const kept = blobsKept === 0 ? '' : `, ${blobsKept} stay: something else has the very same bytes`;
          const rows = places.map(({ place, removed, left }) => [place, removed, left]);
          return `${table(output, ['place', 'removed', 'left'], rows)}\n${blobsRemoved} stored files are gone${kept}`;
        });
      }),
    );
}

function keyOf(parts: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    parts.map((part) => {
      const at = part.indexOf('=');
      if (at < 1) throw new SerinError('INPUT_INVALID', `--key is "${part}"; it is PART=VALUE, as in customer=c-4711`);
      return [part.slice(0, at), part.slice(at + 1)];
    }),
  );
}
