import { createWriteStream } from 'node:fs';
import { mkdir, rename, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Command } from 'commander';
import type { PredictionExplanation } from '../../api/prediction-explanation.ts';
import type { LoggedPrediction } from '../../db/predictions.ts';
import { SerinError } from '../../domain/errors.ts';
import { readProblem } from '../api-client.ts';
import { followOperation } from '../follow-operation.ts';
import { fields, instant, type Output, print, table } from '../output.ts';
import type { CliContext } from '../run-cli.ts';
import { type GlobalOptions, openSession } from '../session.ts';
import { fetchLater } from './predict-later.ts';

interface Shown {
  readonly predictionId: string;
  readonly answers: readonly (LoggedPrediction & { readonly explanation: PredictionExplanation })[];
  readonly outcome: { readonly value: number; readonly observedAt: number } | null;
  readonly exported: boolean;
}

/** What the workflow `exportPredictions` gives. */
interface ExportPredictionsResult {
  readonly models: readonly {
    readonly model: string;
    readonly rows: number;
    readonly files: number;
    readonly exportedTo: number;
    readonly dropped: number;
  }[];
}

interface ExportedFile {
  readonly path: string;
  readonly rows: number;
  readonly bytes: number;
  readonly sha256: string;
}

export function register(program: Command, { action }: CliContext): void {
  const predictions = program.command('predictions').description('the prediction log');
  predictions
    .command('show')
    .argument('<id>', 'the prediction id of an answer')
    .description('explain one answer: who gave it, from which features, and what came of it')
    .addHelpText('after', '\nExample:\n  serin predictions show 01a1ff70-be31-7a76-9b21-57a16d048262')
    .action(
      action<GlobalOptions>(async ({ output, options, args: [id] }) => {
        const { api } = await openSession(options, 'viewer');
        const shown = await api.get<Shown>(`predictions/${encodeURIComponent(id!)}`);
        print(output, shown, (answer) => showPrediction(output, answer));
      }),
    );
  predictions
    .command('fetch')
    .argument('<id>', 'of a prediction that was asked for with: serin predict MODEL --later')
    .description('what has come of a prediction that is answered later')
    .option('--no-wait', 'do not wait for its answer')
    .addHelpText('after', '\nExample:\n  serin predictions fetch 5d0c6a1e-2f0b-4b7e-9b7f-0d9b3c3f2a10 --no-wait')
    .action(
      action<GlobalOptions & { wait: boolean }>(async ({ output, options, args: [id] }) => {
        const { api } = await openSession(options, 'viewer');
        return fetchLater({ api, output, wait: options.wait }, id!);
      }),
    );
  predictions
    .command('export')
    .description('write the log into Parquet, by model and day; what is there already is not written again')
    .option('--until <time>', 'what was recorded before it; all so far when left out')
    .option('--model <name...>', 'these models alone')
    .option(
      '--delete',
      'take the rows out of PostgreSQL that are in Parquet, but for those a rollout under way may look at',
    )
    .option('--no-wait', 'do not wait for its end')
    .addHelpText('after', '\nExample:\n  serin predictions export --until 2026-11-01T00:00:00Z --delete')
    .action(
      action<GlobalOptions & { until?: string; model?: string[]; delete?: boolean; wait: boolean }>(
        async ({ output, options }) => {
          const { api } = await openSession(options, 'operator');
          const body = {
            ...(options.until !== undefined && { until: options.until }),
            ...(options.model !== undefined && { models: options.model }),
            ...(options.delete === true && { drop: true }),
          };
          return followOperation<ExportPredictionsResult>(
            { api, output, wait: options.wait },
            'prediction-exports',
            body,
            ({ result }) => showExport(output, result!),
          );
        },
      ),
    );
  predictions
    .command('files')
    .description(
      'the Parquet files of the log; with --to they are copied into a folder, as DuckDB, Spark or pandas read them',
    )
    .option('--model <name>', 'this model alone')
    .option('--to <folder>', 'copy what is not there yet')
    .addHelpText('after', '\nExample:\n  serin predictions files --model flight-delay --to ./log')
    .action(
      action<GlobalOptions & { model?: string; to?: string }>(async ({ output, options }) => {
        const { api, token } = await openSession(options, 'viewer');
        const found = await api.get<{ files: readonly ExportedFile[] }>('prediction-exports', {
          query: { model: options.model },
        });
        if (options.to !== undefined)
          for (const file of found.files)
            await download(
              new URL(`v1/prediction-exports/${file.sha256}`, slashed(api.url)),
              token,
              join(options.to, file.path),
              file,
            );
        print(output, found, ({ files }) =>
          table(
            output,
            ['file', 'rows', 'bytes', 'sha256'],
            files.map(({ path, rows, bytes, sha256 }) => [path, rows, bytes, sha256.slice(0, 12)]),
          ),
        );
      }),
    );
}

/** One that has its size is there: files never change but when somebody is forgotten, and then they are smaller. */
async function download(url: URL, token: string, path: string, { bytes }: ExportedFile): Promise<void> {
  const standing = await stat(path).catch(() => undefined);
  if (standing?.size === bytes) return;
  const response = await fetch(url, { headers: { authorization: `Bearer ${token}` } });
  if (!response.ok || response.body === null)
    throw (
      readProblem(await response.text()) ?? new SerinError('API_UNREACHABLE', `${url.href} answered ${response.status}`)
    );
  await mkdir(dirname(path), { recursive: true });
  await pipeline(Readable.fromWeb(response.body), createWriteStream(`${path}.part`));
  await rename(`${path}.part`, path);
}

function slashed(url: string): string {
  return url.endsWith('/') ? url : `${url}/`;
}

function showExport(output: Output, { models }: ExportPredictionsResult): string {
  if (models.length === 0) return 'nothing is logged';
  return table(
    output,
    ['model', 'rows exported', 'files', 'complete to', 'rows deleted'],
    models.map(({ model, rows, files, exportedTo, dropped }) => [model, rows, files, instant(exportedTo), dropped]),
  );
}

/** @param shown as the API gives it */
export function showPrediction(output: Output, { predictionId, answers, outcome, exported }: Shown): string {
  const cameOf = outcome === null ? 'not known' : `${outcome.value}, observed ${instant(outcome.observedAt)}`;
  const head = fields({
    prediction: predictionId,
    outcome: cameOf,
    ...(exported && { 'read from': 'Parquet (no longer in PostgreSQL)' }),
  });
  return [head, ...answers.map((answer) => showAnswer(output, answer))].join('\n\n');
}

function showAnswer(output: Output, answer: Shown['answers'][number]): string {
  const { explanation, known, error, reason, redacted } = answer;
  const { version, decision, rollout, links } = explanation;
  const head = fields({
    model: answer.model,
    version: `v${answer.version}${answer.servedModel === null ? '' : ` of ${answer.servedModel}`}${version === null ? '' : ` (${version.kind}, ${version.stage})`}`,
    manifest: version?.manifestSha256.slice(0, 12),
    'feature set': version?.featureSet,
    dataset: version?.dataset?.slice(0, 12),
    run: version?.runId,
    arm: answer.arm,
    rung: answer.rung,
    reason: reason === null ? null : `${reason}: ${error}`,
    error: reason === null ? error : null,
    epoch: answer.epoch,
    'as of': instant(answer.asOf),
    answered: `${instant(answer.answeredAt)}, in ${(answer.latencyMicros / 1_000).toFixed(2)} ms`,
    score: `${answer.score}${version?.calibration ? ` (calibrated by ${version.calibration})` : ''}`,
    label:
      decision === null
        ? null
        : `${decision.className ?? decision.label}: ${decision.label === 1 ? 'at or above' : 'below'} ${decision.threshold}${decision.slice === null ? '' : ` (threshold of ${decision.slice})`}`,
    unit: answer.unit,
    weight: answer.sampleWeight,
    trace: answer.traceId,
    rollout: rollout === null ? null : `${rollout.rolloutId} (v${rollout.version}, ${rollout.phase})`,
    personal: redacted.length === 0 ? null : redacted.join(', '),
    'features hold at': known === null ? null : instant(known.readAt),
    known:
      Object.entries(known?.knownSeq ?? {})
        .map(([view, seq]) => `${view} up to #${seq}`)
        .join(', ') || null,
    see: [links.version, links.rollout].filter((link) => link !== undefined).join(', '),
  });
  const request = Object.entries(answer.request).map(([name, value]) => [
    name,
    value === null ? 'null' : String(value),
  ]);
  const features = explanation.features.map(({ name, value, status, withheld }) => [
    name,
    withheld ? '(personal)' : value === null ? 'missing' : String(value),
    status,
  ]);
  return [
    head,
    table(output, ['request', 'value'], request),
    table(output, ['feature', 'value', 'status'], features),
  ].join('\n\n');
}
