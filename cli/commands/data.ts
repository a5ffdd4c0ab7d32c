import { basename, extname, resolve } from 'node:path';
import type { Command } from 'commander';
import { SerinError } from '../../domain/errors.ts';
import { loadProject } from '../load-project.ts';
import { EXIT } from '../exit-codes.ts';
import { followOperation } from '../follow-operation.ts';
import { fields, instant, print, table } from '../output.ts';
import { readRows } from '../read-rows.ts';
import type { CliContext } from '../run-cli.ts';
import { registerInspection } from './dataset-inspection.ts';
import { type GlobalOptions, openSession } from '../session.ts';

interface Waits extends GlobalOptions {
  readonly wait: boolean;
}
interface IngestResult {
  readonly rowsIn: number;
  readonly rowsAccepted: number;
  readonly quarantined: Readonly<Record<string, number>>;
  readonly lastSeq: number;
  readonly alreadyThere: boolean;
}

const EVENTS_PER_REQUEST = 5_000;
const FORMATS: Readonly<Record<string, string>> = {
  '.parquet': 'parquet',
  '.csv': 'csv',
  '.jsonl': 'jsonl',
  '.ndjson': 'jsonl',
};

export function register(program: Command, context: CliContext): void {
  const { action } = context;
  program
    .command('apply')
    .argument('<file>', 'the project: a TypeScript or JavaScript module with a default export')
    .description('make a project current: all of it or nothing')
    .option('--dry-run', 'check it, send nothing')
    .addHelpText('after', '\nExample:\n  serin apply examples/flights/project.ts')
    .action(
      action<GlobalOptions & { dryRun?: boolean }>(async ({ output, options, args }) => {
        const { spec, digest, bundle } = await loadProject(args[0]!);
        if (options.dryRun === true) {
          print(
            output,
            { project: spec.name, digest, checked: true },
            () => `${spec.name} ${digest.slice(0, 12)} is sound; nothing was sent`,
          );
          return;
        }
        const { api } = await openSession(options, 'engineer');
        const applied = await api.post<{ project: string; digest: string; created: boolean; models: string[] }>(
          'projects',
          {
            spec,
            bundle: Buffer.from(bundle).toString('base64'),
          },
        );
        print(
          output,
          applied,
          ({ project, digest: now, created, models }) =>
            `${project} ${now.slice(0, 12)} ${created ? 'applied' : 'was applied before'}; models: ${models.join(', ')}`,
        );
      }),
    );

  program
    .command('projects')
    .description('the applied projects')
    .addHelpText('after', '\nExample:\n  serin projects')
    .action(
      action<GlobalOptions>(async ({ output, options }) => {
        const { api } = await openSession(options, 'viewer');
        const answer = await api.get<{ projects: { name: string; digest: string; updatedAt: number }[] }>('projects');
        print(output, answer, ({ projects }) =>
          table(
            output,
            ['name', 'digest', 'updated'],
            projects.map(({ name, digest, updatedAt }) => [name, digest.slice(0, 12), instant(updatedAt)]),
          ),
        );
      }),
    );

  program
    .command('ingest')
    .argument('<source>')
    .argument('<file>', 'Parquet, CSV or JSON lines; a path that the workers see')
    .description("take a file into a source's log as one batch")
    .option('--batch <id>', 'name of the batch; the name of the file when left out')
    .option('--format <format>', 'parquet, csv or jsonl; by the name of the file when left out')
    .option('--no-wait', 'do not wait for its end')
    .addHelpText('after', '\nExample:\n  serin ingest flights data/flights-2001-01.parquet --batch 2001-01')
    .action(
      action<Waits & { batch?: string; format?: string }>(async ({ output, options, args: [source, file] }) => {
        const { api } = await openSession(options, 'engineer');
        const path = resolve(file!);
        const format = options.format ?? FORMATS[extname(path).toLowerCase()];
        if (format === undefined) {
          throw new SerinError(
            'INPUT_INVALID',
            `${file} has no ending that tells its format; add --format parquet, csv or jsonl`,
          );
        }
        const batchId = options.batch ?? basename(path, extname(path));
        return followOperation<IngestResult>(
          { api, output, wait: options.wait },
          `sources/${source}/batches`,
          { batchId, path, format },
          ({ result }) => ingested(batchId, result!),
        );
      }),
    );

  program
    .command('batches')
    .argument('<source>')
    .description('the batches of a source, in the order of their arrival')
    .addHelpText('after', '\nExample:\n  serin batches flights')
    .action(
      action<GlobalOptions>(async ({ output, options, args: [source] }) => {
        const { api } = await openSession(options, 'viewer');
        const answer = await api.get<{
          batches: { batchId: string; rowsIn: number; rowsAccepted: number; lastSeq: number; ingestedAt: number }[];
        }>(`sources/${source}/batches`);
        print(output, answer, ({ batches }) =>
          table(
            output,
            ['batch', 'rows', 'accepted', 'last seq', 'ingested'],
            batches.map((batch) => [
              batch.batchId,
              batch.rowsIn,
              batch.rowsAccepted,
              batch.lastSeq,
              instant(batch.ingestedAt),
            ]),
          ),
        );
      }),
    );

  const events = program.command('events').description('events as they become known');
  events
    .command('push')
    .argument('<source>')
    .argument('<file>', 'JSON lines or a JSON list; - reads standard input')
    .description('push events; each is checked by the contract of its source')
    .option('--wait', 'until the online features have them')
    .option('--clock <instant>', "the sender's clock; now when left out")
    .addHelpText('after', '\nExample:\n  serin events push flights landed.jsonl --wait')
    .action(
      action<GlobalOptions & { wait?: boolean; clock?: string }>(async ({ output, options, args: [source, file] }) => {
        const { api } = await openSession(options, 'operator');
        const rows = await readRows(file!);
        const sum = {
          accepted: 0,
          added: 0,
          rejected: [] as { index: number; reasons: { column: string | null; rule: string }[] }[],
          lastSeq: 0,
        };
        for (let from = 0; from < rows.length; from += EVENTS_PER_REQUEST) {
          const page = await api.post<typeof sum>(
            `sources/${source}/events`,
            {
              events: rows.slice(from, from + EVENTS_PER_REQUEST),
              ...(options.clock !== undefined && { clockAt: options.clock }),
            },
            options.wait === true ? { query: { wait: 'applied' } } : {},
          );
          sum.accepted += page.accepted;
          sum.added += page.added;
          sum.rejected.push(...page.rejected.map(({ index, reasons }) => ({ index: from + index, reasons })));
          sum.lastSeq = page.lastSeq;
          if (rows.length > EVENTS_PER_REQUEST)
            output.note(`${Math.min(from + EVENTS_PER_REQUEST, rows.length)} of ${rows.length} sent`);
        }
        print(output, sum, ({ accepted, added, rejected, lastSeq }) =>
          [
            `${accepted} accepted (${added} new), ${rejected.length} rejected, last sequence number ${lastSeq}`,
            ...rejected
              .slice(0, 20)
              .map(
                ({ index, reasons }) =>
                  `  event ${index}: ${reasons.map((each) => `${each.column ?? 'row'}: ${each.rule}`).join('; ')}`,
              ),
          ].join('\n'),
        );
        return sum.rejected.length === 0 ? EXIT.done : EXIT.failed;
      }),
    );
  events
    .command('flush')
    .argument('<source>')
    .description('write the pushed events into the log')
    .option('--no-wait', 'do not wait for its end')
    .addHelpText('after', '\nExample:\n  serin events flush flights')
    .action(
      action<Waits>(async ({ output, options, args: [source] }) => {
        const { api } = await openSession(options, 'operator');
        return followOperation<IngestResult>(
          { api, output, wait: options.wait },
          `sources/${source}/flush`,
          undefined,
          ({ result }) => ingested('of pushed events', result!),
        );
      }),
    );

  program
    .command('materialize')
    .argument('<project>')
    .description('rebuild the online features from the log')
    .option('--view <view...>', 'views as name@version; all when left out')
    .option('--at <instant>', 'no read will ask for an earlier instant; now when left out')
    .option('--keys-per-second <count>', 'write no more keys a second than this, to spare the store', Number)
    .option('--no-wait', 'do not wait for its end')
    .addHelpText('after', '\nExample:\n  serin materialize flights --at 2001-06-01T00:00:00Z')
    .action(
      action<Waits & { view?: string[]; at?: string; keysPerSecond?: number }>(
        async ({ output, options, args: [project] }) => {
          const { api } = await openSession(options, 'engineer');
          const body = {
            project,
            foldAt: options.at ?? Date.now() * 1_000,
            ...(options.view !== undefined && { views: options.view }),
            ...(options.keysPerSecond !== undefined && { keysPerSecond: options.keysPerSecond }),
          };
          return followOperation<{
            views: { viewId: string; keys: number; events: number; appliedSeq: number; checked: number }[];
          }>({ api, output, wait: options.wait }, 'features/materializations', body, ({ result }) =>
            table(
              output,
              ['view', 'keys', 'events', 'applied seq', 'checked'],
              result!.views.map(({ viewId, keys, events: count, appliedSeq, checked }) => [
                viewId,
                keys,
                count,
                appliedSeq,
                checked,
              ]),
            ),
          );
        },
      ),
    );

  const dataset = program.command('dataset').description('point-in-time datasets');
  registerInspection(dataset, context);
  dataset
    .command('build')
    .argument('<model>')
    .argument('<training>')
    .description('build the dataset of a training')
    .option('--no-wait', 'do not wait for its end')
    .addHelpText('after', '\nExample:\n  serin dataset build flight-delay boosted')
    .action(
      action<Waits>(async ({ output, options, args: [model, training] }) => {
        const { api } = await openSession(options, 'engineer');
        return followOperation<{
          digest: string;
          rows: number;
          trainRows: number;
          testRows: number;
          leakageFindings: number;
        }>({ api, output, wait: options.wait }, `models/${model}/datasets`, { training }, ({ result }) =>
          fields({
            digest: result!.digest,
            rows: result!.rows,
            train: result!.trainRows,
            test: result!.testRows,
            'leakage findings': result!.leakageFindings,
          }),
        );
      }),
    );
  dataset
    .command('show')
    .argument('<digest>', 'its start is enough where it is unique')
    .description('one dataset: inputs, splits, features, leakage findings')
    .addHelpText('after', '\nExample:\n  serin dataset show 9f86d081')
    .action(
      action<GlobalOptions>(async ({ output, options, args: [digest] }) => {
        const { api } = await openSession(options, 'viewer');
        const answer = await api.get<DatasetAnswer>(`datasets/${digest}`);
        print(output, answer, showDataset);
      }),
    );
  dataset
    .command('list')
    .description('datasets, newest first')
    .option('--model <model>')
    .addHelpText('after', '\nExample:\n  serin dataset list --model flight-delay')
    .action(
      action<GlobalOptions & { model?: string }>(async ({ output, options }) => {
        const { api } = await openSession(options, 'viewer');
        const answer = await api.get<{ datasets: Omit<DatasetAnswer, 'manifest'>[] }>('datasets', {
          query: { model: options.model },
        });
        print(output, answer, ({ datasets }) =>
          table(
            output,
            ['digest', 'model', 'feature set', 'rows', 'created'],
            datasets.map((each) => [
              each.digest.slice(0, 12),
              each.model,
              each.featureSet,
              each.rows,
              instant(each.createdAt),
            ]),
          ),
        );
      }),
    );
}

interface DatasetAnswer {
  readonly digest: string;
  readonly model: string;
  readonly featureSet: string;
  readonly rows: number;
  readonly createdAt: number;
  readonly manifest: {
    readonly features: readonly string[];
    readonly splits: Readonly<Record<string, { readonly rows: number }>>;
    readonly leakage: readonly { readonly severity: string; readonly sentence?: string }[];
  };
}

function showDataset({ digest, model, featureSet, rows, createdAt, manifest }: DatasetAnswer): string {
  const splits = Object.entries(manifest.splits).map(([name, split]) => `${name} ${split.rows}`);
  return [
    fields({
      digest,
      model,
      'feature set': featureSet,
      rows,
      splits: splits.join(', '),
      created: instant(createdAt),
      features: manifest.features.join(', '),
    }),
    ...manifest.leakage.map(({ severity, sentence }) => `${severity}: ${sentence ?? ''}`),
  ].join('\n');
}

function ingested(batchId: string, { rowsIn, rowsAccepted, quarantined, lastSeq, alreadyThere }: IngestResult): string {
  const reasons = Object.entries(quarantined).map(([reason, rows]) => `  ${reason}: ${rows} rows`);
  const head = `batch ${batchId}: ${rowsAccepted} of ${rowsIn} rows accepted, last sequence number ${lastSeq}${alreadyThere ? ' (it was there before)' : ''}`;
  return [head, ...reasons].join('\n');
}
