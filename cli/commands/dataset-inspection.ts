import type { Command } from 'commander';
import { SerinError } from '../../domain/errors.ts';
import type {
  ChangedColumn,
  DatasetDiff,
  FeatureExplanation,
  RowExplanation,
  SourceEvent,
} from '../../domain/features/dataset-explanation.ts';
import { EXIT } from '../exit-codes.ts';
import { followOperation } from '../follow-operation.ts';
import { fields, instant, type Output, table } from '../output.ts';
import type { CliContext } from '../run-cli.ts';
import { type GlobalOptions, openSession } from '../session.ts';

/** Commands that look into finished datasets. */
export function registerInspection(dataset: Command, { action }: CliContext): void {
  dataset
    .command('diff')
    .argument('<before>', 'the start of a digest is enough where it is unique')
    .argument('<after>')
    .description('what differs between two datasets of one plan, and which later events did it')
    .addHelpText('after', '\nExample:\n  serin dataset diff 9f86d081 60303ae2')
    .action(
      action<GlobalOptions>(async ({ output, options, args: [before, after] }) => {
        const { api } = await openSession(options, 'engineer');
        return followOperation<DatasetDiff>(
          { api, output, wait: true },
          `datasets/${after}/diffs`,
          { before },
          ({ result }) => showDiff(output, result!),
        );
      }),
    );
  dataset
    .command('rebuild')
    .argument('<digest>', 'its start is enough where it is unique')
    .description('build it again from its manifest; ends with 1 when it comes out otherwise')
    .option('--no-wait', 'do not wait for its end')
    .addHelpText('after', '\nExample:\n  serin dataset rebuild 9f86d081')
    .action(
      action<GlobalOptions & { wait: boolean }>(async ({ output, options, args: [digest] }) => {
        const { api } = await openSession(options, 'engineer');
        return followOperation<{ dataset: string; rebuilt: string; same: boolean }>(
          { api, output, wait: options.wait },
          `datasets/${digest}/rebuilds`,
          undefined,
          ({ result }) => {
            const { dataset: name, rebuilt, same } = result!;
            return `dataset ${name.slice(0, 12)} came out ${same ? 'the same, byte for byte' : `as ${rebuilt.slice(0, 12)}`}`;
          },
          ({ result }) => (result?.same === true ? EXIT.done : EXIT.failed),
        );
      }),
    );
  dataset
    .command('explain')
    .argument('<digest>', 'its start is enough where it is unique')
    .description('the events behind each value of one row')
    .requiredOption('--row <row_id>', 'the row, by its row_id')
    .option('--feature <name>', 'this feature alone')
    .addHelpText('after', '\nExample:\n  serin dataset explain 9f86d081 --row 41207 --feature origin__delay_share__3h')
    .action(
      action<GlobalOptions & { row: string; feature?: string }>(async ({ output, options, args: [digest] }) => {
        const row = Number(options.row);
        if (!Number.isSafeInteger(row) || row < 0)
          throw new SerinError('INPUT_INVALID', `--row must be a row_id, a whole number, got "${options.row}"`);
        const { api } = await openSession(options, 'engineer');
        return followOperation<RowExplanation>(
          { api, output, wait: true },
          `datasets/${digest}/explanations`,
          { row },
          ({ result }) => showRow(output, result!, options.feature),
        );
      }),
    );
}

export function showDiff(output: Output, { before, after, common, added, removed, columns }: DatasetDiff): string {
  const named = ({ rows, samples }: DatasetDiff['added']): string =>
    rows === 0 ? '0' : `${rows} (row ${samples.join(', ')}${rows > samples.length ? ', …' : ''})`;
  const head = fields({
    before: `${before.digest.slice(0, 12)}, ${before.rows} rows`,
    after: `${after.digest.slice(0, 12)}, ${after.rows} rows`,
    'rows in both': common,
    'rows added': named(added),
    'rows removed': named(removed),
  });
  if (columns.length === 0) return `${head}\nno cell of the common rows differs`;
  return [head, ...columns.map((column) => showColumn(output, column))].join('\n\n');
}

function showColumn(output: Output, { column, changed, samples }: ChangedColumn): string {
  const shown = samples.map(({ row, asOf, before, after, events, eventCount }) =>
    [
      `row ${row} as of ${instant(asOf)}: ${text(before)} → ${text(after)}`,
      events.length === 0 ? '(no event of its key came between)' : eventTable(output, events),
      ...(eventCount > events.length ? [`and ${eventCount - events.length} more`] : []),
    ].join('\n'),
  );
  return [`${column}: ${changed} ${changed === 1 ? 'row' : 'rows'}`, ...shown].join('\n');
}

/** @throws COLUMN_UNKNOWN for a feature that the dataset does not have */
export function showRow(output: Output, explained: RowExplanation, only: string | undefined): string {
  const { row, asOf, split, request, label, features } = explained;
  const chosen = features.filter(({ feature }) => only === undefined || feature === only);
  if (chosen.length === 0) {
    const names = features.map(({ feature }) => feature).join(', ');
    throw new SerinError('COLUMN_UNKNOWN', `the dataset has no feature "${only}"; it has ${names}`);
  }
  const head = fields({
    row,
    'as of': instant(asOf),
    split,
    request: Object.entries(request)
      .map(([name, value]) => `${name} ${text(value)}`)
      .join(', '),
    [label.name]: `${text(label.value)} (${label.status})`,
  });
  const behind = label.events.length === 0 ? [] : [eventTable(output, label.events)];
  return [[head, ...behind].join('\n'), ...chosen.map((feature) => showFeature(output, feature))].join('\n\n');
}

function showFeature(output: Output, explained: FeatureExplanation): string {
  const { feature, value } = explained;
  if (explained.kind === 'derived') {
    const reads = Object.entries(explained.reads).map(([name, each]) => `${name} ${text(each)}`);
    return `${feature}: ${text(value)}, from ${reads.join(', ')}`;
  }
  const { view, status, window, count, events, first, leftOut } = explained;
  const where =
    window === null
      ? 'the newest event'
      : `${count} events ${window.start === null ? 'until' : `after ${instant(window.start)}, until`} ${instant(window.end)}`;
  const more = count - events.length;
  const lines = [
    `${feature}: ${text(value)} (${status}), of ${view}: ${count === 0 ? 'no event' : where}`,
    ...(events.length === 0 ? [] : [eventTable(output, events)]),
    ...(more > 0 ? [`and ${more} older, the first #${first!.seq} at ${instant(first!.eventAt)}`] : []),
    ...leftOut.map(({ event, because, by }) => {
      const how =
        by === null ? 'its condition does not hold' : `${because} by #${by.seq}, known ${instant(by.availableAt)}`;
      return `without #${event.seq} (event ${instant(event.eventAt)}): ${how}`;
    }),
  ];
  return lines.join('\n');
}

function eventTable(output: Output, events: readonly SourceEvent[]): string {
  return table(
    output,
    ['event', 'source', 'what', 'happened', 'known', 'event id'],
    events.map(({ seq, source, operation, eventAt, availableAt, eventId }) => [
      `#${seq}`,
      source,
      operation,
      instant(eventAt),
      instant(availableAt),
      eventId,
    ]),
  );
}

function text(value: number | string | boolean | null): string {
  return value === null ? 'null' : String(value);
}
