import type { Command } from 'commander';
import { followOperation } from '../follow-operation.ts';
import { instant, print, table } from '../output.ts';
import type { CliContext } from '../run-cli.ts';
import { type GlobalOptions, openSession } from '../session.ts';

interface Compacted {
  readonly filesMerged: number;
  readonly rows: number;
  readonly files: number;
}

interface RefusedRecord {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  readonly reasons: readonly { readonly column: string | null; readonly rule: string }[];
  readonly refusedAt: number;
}

export function register(program: Command, { action }: CliContext): void {
  const source = program.command('source').description('the log of a source, and what was kept out of it');
  source
    .command('compact')
    .argument('<source>')
    .description('bring the small files of the log together; starts by itself after a batch when there are many')
    .option('--no-wait', 'do not wait for its end')
    .addHelpText('after', '\nExample:\n  serin source compact flights')
    .action(
      action<GlobalOptions & { wait: boolean }>(async ({ output, options, args: [name] }) => {
        const { api } = await openSession(options, 'engineer');
        return followOperation<Compacted>(
          { api, output, wait: options.wait },
          `sources/${name}/compactions`,
          undefined,
          ({ result }) =>
            `${result!.filesMerged} files were brought together, ${result!.rows} rows written; the log of ${name} has ${result!.files} files`,
        );
      }),
    );
  source
    .command('refused')
    .argument('<source>')
    .description('Kafka records that broke the contract of the source, the newest first')
    .option('--limit <count>', 'at most this many, up to 1,000', '100')
    .addHelpText('after', '\nExample:\n  serin source refused flights')
    .action(
      action<GlobalOptions & { limit: string }>(async ({ output, options, args: [name] }) => {
        const { api } = await openSession(options, 'viewer');
        const answer = await api.get<{ records: RefusedRecord[] }>(`sources/${name}/refused`, {
          query: { limit: options.limit },
        });
        print(output, answer, ({ records }) =>
          table(
            output,
            ['topic', 'partition', 'offset', 'refused', 'why'],
            records.map(({ topic, partition, offset, refusedAt, reasons }) => [
              topic,
              partition,
              offset,
              instant(refusedAt),
              reasons.map(({ column, rule }) => `${column ?? 'record'}: ${rule}`).join('; '),
            ]),
          ),
        );
      }),
    );
}
