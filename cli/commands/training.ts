import type { Command } from 'commander';
import { type Calibration, calibrationText } from '../../domain/calibration/calibration.ts';
import type { GateReport } from '../../domain/gates/gate-report.ts';
import { SerinError } from '../../domain/errors.ts';
import { EXIT } from '../exit-codes.ts';
import { followOperation } from '../follow-operation.ts';
import { fields, instant, print, table } from '../output.ts';
import type { CliContext } from '../run-cli.ts';
import { type GlobalOptions, openSession } from '../session.ts';

interface Waits extends GlobalOptions {
  readonly wait: boolean;
}
interface TrainResult {
  readonly runId: string;
  readonly dataset: string;
  readonly verdict: string;
  readonly version: number | null;
  readonly stoppedBy: readonly string[];
}
interface RunAnswer {
  readonly runId: string;
  readonly model: string;
  readonly training: string;
  readonly status: string;
  readonly author: string;
  readonly dataset: string | null;
  readonly verdict: string | null;
  readonly version: number | null;
  readonly failure: string | null;
  readonly startedAt: number;
  readonly endedAt: number | null;
}
interface RunDetails extends RunAnswer {
  readonly gateReport: GateReport | null;
  readonly result: {
    readonly trainRows?: number;
    readonly trainSeconds?: number;
    readonly calibration?: Calibration;
    readonly evaluation?: {
      readonly auc: { readonly value: number; readonly low: number; readonly high: number } | null;
      readonly logLoss: { readonly value: number };
      readonly brier: { readonly value: number };
      readonly calibration: { readonly ece: number; readonly before?: { readonly ece: number } };
    };
  } | null;
}

export function register(program: Command, { action }: CliContext): void {
  program
    .command('train')
    .argument('<model>')
    .argument('<training>', 'one of the trainings that the project declares')
    .description('train a version: dataset, training, evaluation, gates, registration')
    .option('--no-wait', 'do not wait for its end')
    .addHelpText('after', '\nExample:\n  serin train flight-delay boosted\n\nEnds with 1 when a gate stops it.')
    .action(
      action<Waits>(async ({ output, options, args: [model, training] }) => {
        const { api } = await openSession(options, 'engineer');
        return followOperation<TrainResult>(
          { api, output, wait: options.wait },
          `models/${model}/runs`,
          { training },
          ({ result }) => trained(model!, result!),
          ({ result }) => (result?.version === null ? EXIT.failed : EXIT.done),
        );
      }),
    );

  program
    .command('deliver')
    .argument('<model>')
    .argument('<training>')
    .description('train and deliver: from new data to a finished rollout')
    .option('--no-wait', 'do not wait for its end')
    .addHelpText(
      'after',
      '\nExample:\n  serin deliver flight-delay boosted --no-wait\n\nEnds with 0 only when the version was promoted.',
    )
    .action(
      action<Waits>(async ({ output, options, args: [model, training] }) => {
        const { api } = await openSession(options, 'engineer');
        return followOperation<{ training: TrainResult; rollout: { outcome: string; reason: string } | null }>(
          { api, output, wait: options.wait },
          `models/${model}/deliveries`,
          { training },
          ({ result }) =>
            [
              trained(model!, result!.training),
              ...(result!.rollout === null ? [] : [`${result!.rollout.outcome}: ${result!.rollout.reason}`]),
            ].join('\n'),
          ({ result }) => (result?.rollout?.outcome === 'promoted' ? EXIT.done : EXIT.failed),
        );
      }),
    );

  const schedule = program.command('schedule').description('deliver at regular times');
  schedule
    .command('set')
    .argument('<model>')
    .argument('<training>')
    .description('set the one schedule of a model')
    .option('--every <duration>', 'such as 30m, 6h, 1d')
    .option('--cron <expression>', 'such as "0 4 * * *"')
    .option('--paused', 'keep it, start nothing')
    .addHelpText('after', '\nExample:\n  serin schedule set flight-delay boosted --every 1d')
    .action(
      action<GlobalOptions & { every?: string; cron?: string; paused?: boolean }>(
        async ({ output, options, args: [model, training] }) => {
          const { api } = await openSession(options, 'engineer');
          const answer = await api.put<{ scheduleId: string; created: boolean; paused: boolean }>(
            `models/${model}/schedule`,
            {
              training,
              ...(options.every !== undefined && { everyMs: durationMs(options.every) }),
              ...(options.cron !== undefined && { cron: options.cron }),
              paused: options.paused === true,
            },
          );
          print(
            output,
            answer,
            ({ scheduleId, created, paused }) =>
              `${scheduleId} ${created ? 'created' : 'changed'}${paused ? ', paused' : ''}`,
          );
        },
      ),
    );
  schedule
    .command('remove')
    .argument('<model>')
    .description('take the schedule away; what it started goes on')
    .addHelpText('after', '\nExample:\n  serin schedule remove flight-delay')
    .action(
      action<GlobalOptions>(async ({ output, options, args: [model] }) => {
        const { api } = await openSession(options, 'engineer');
        print(output, await api.delete<{ deleted: boolean }>(`models/${model}/schedule`), ({ deleted }) =>
          deleted ? 'removed' : 'there was none',
        );
      }),
    );

  const runs = program
    .command('runs')
    .description('training runs, newest first')
    .option('--model <model>')
    .addHelpText('after', '\nExample:\n  serin runs --model flight-delay')
    .action(
      action<GlobalOptions & { model?: string }>(async ({ output, options }) => {
        const { api } = await openSession(options, 'viewer');
        const answer = await api.get<{ runs: RunAnswer[] }>('runs', { query: { model: options.model } });
        print(output, answer, (found) =>
          table(
            output,
            ['run', 'model', 'training', 'status', 'gates', 'version', 'author', 'started'],
            found.runs.map((run) => [
              run.runId,
              run.model,
              run.training,
              run.status,
              run.verdict,
              run.version === null ? '' : `v${run.version}`,
              run.author,
              instant(run.startedAt),
            ]),
          ),
        );
      }),
    );
  runs
    .command('show')
    .argument('<run>')
    .description('one run: evaluation, gates')
    .addHelpText('after', '\nExample:\n  serin runs show flight-delay-boosted-1f0c9a2b')
    .action(
      action<GlobalOptions>(async ({ output, options, args: [run] }) => {
        const { api } = await openSession(options, 'viewer');
        print(output, await api.get<RunDetails>(`runs/${run}`), (details) =>
          [runFields(details), gateLines(details.gateReport)].join('\n'),
        );
      }),
    );

  program
    .command('gates')
    .argument('<run>')
    .description('what the gates say of a run; ends with 0 only when all pass')
    .addHelpText('after', '\nExample:\n  serin gates flight-delay-boosted-1f0c9a2b')
    .action(
      action<GlobalOptions>(async ({ output, options, args: [run] }) => {
        const { api } = await openSession(options, 'viewer');
        const { gateReport, status, failure } = await api.get<RunDetails>(`runs/${run}`);
        if (gateReport === null) {
          print(
            output,
            { runId: run, status, failure, gateReport },
            () => `run ${run} is ${status}: the gates have said nothing yet`,
          );
          return status === 'running' ? EXIT.running : EXIT.failed;
        }
        print(output, gateReport, gateLines);
        return gateReport.verdict === 'pass' ? EXIT.done : EXIT.failed;
      }),
    );
}

function trained(model: string, { runId, verdict, version, stoppedBy }: TrainResult): string {
  if (version !== null) return `run ${runId} passed its gates and is ${model} v${version}`;
  return [`run ${runId} was stopped by its gates (${verdict})`, ...stoppedBy.map((sentence) => `  ${sentence}`)].join(
    '\n',
  );
}

function runFields({ result, ...run }: RunDetails): string {
  const evaluation = result?.evaluation;
  const auc = evaluation?.auc;
  return fields({
    run: run.runId,
    model: run.model,
    training: run.training,
    status: run.status,
    version: run.version === null ? null : `v${run.version}`,
    failure: run.failure,
    author: run.author,
    dataset: run.dataset?.slice(0, 12),
    rows: result?.trainRows,
    seconds: result?.trainSeconds,
    AUC:
      auc === undefined || auc === null
        ? null
        : `${auc.value.toFixed(4)} (${auc.low.toFixed(4)} … ${auc.high.toFixed(4)})`,
    'log loss': evaluation?.logLoss.value,
    Brier: evaluation?.brier.value,
    calibration: result?.calibration === undefined ? null : calibrationText(result.calibration),
    'calibration error': evaluation === undefined ? null : calibrationError(evaluation.calibration),
    started: instant(run.startedAt),
    ended: run.endedAt === null ? null : instant(run.endedAt),
  });
}

/** `0.0123 (0.0956 before)` */
function calibrationError({
  ece,
  before,
}: {
  readonly ece: number;
  readonly before?: { readonly ece: number };
}): string {
  return `${ece.toFixed(4)}${before === undefined ? '' : ` (${before.ece.toFixed(4)} before)`}`;
}

function gateLines(report: GateReport | null): string {
  if (report === null) return 'gates: not yet';
  return [
    `gates: ${report.verdict}`,
    ...report.results.map(({ name, verdict, sentence }) => `  ${verdict.padEnd(12)} ${name}: ${sentence}`),
  ].join('\n');
}

const UNITS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** `90s`, `30m`, `6h`, `1d` in milliseconds. */
export function durationMs(text: string): number {
  const [, amount, unit] = /^(\d+)\s*([smhd])$/.exec(text) ?? [];
  if (amount === undefined || unit === undefined)
    throw new SerinError('INPUT_INVALID', `"${text}" is no duration; write 90s, 30m, 6h or 1d`);
  return Number(amount) * UNITS[unit]!;
}
