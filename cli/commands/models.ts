import type { Command } from 'commander';
import type { CalibrationMethod } from '../../domain/calibration/calibration.ts';
import { SerinError } from '../../domain/errors.ts';
import { EXIT } from '../exit-codes.ts';
import { fields, instant, print, table } from '../output.ts';
import { readRows } from '../read-rows.ts';
import type { CliContext } from '../run-cli.ts';
import { type GlobalOptions, openSession } from '../session.ts';

interface Route {
  readonly epoch: number;
  readonly champion: number;
  readonly lastKnownGood: number;
  readonly canary: number | null;
  readonly canaryWeight: number;
  readonly shadow: number | null;
  readonly reason: string;
}
interface ModelDetails {
  readonly name: string;
  readonly project: string;
  readonly route: Route | null;
  readonly versions: readonly {
    readonly version: number;
    readonly kind: string;
    readonly stage: string;
    readonly training: string | null;
    readonly featureSet: string;
    readonly author: string;
    readonly registeredAt: number;
    readonly evaluation: { readonly auc: { readonly value: number } | null } | null;
    readonly calibration: CalibrationMethod | null;
  }[];
  readonly activeRollout: { readonly rolloutId: string; readonly phase: string } | null;
}
interface Estimate {
  readonly value: number;
  readonly low: number;
  readonly high: number;
}

const OUTCOMES_PER_REQUEST = 10_000;

export function register(program: Command, { action }: CliContext): void {
  const models = program
    .command('models')
    .description('the models, and who answers for each')
    .addHelpText('after', '\nExample:\n  serin models')
    .action(
      action<GlobalOptions>(async ({ output, options }) => {
        const { api } = await openSession(options, 'viewer');
        const answer = await api.get<{ models: { name: string; project: string; route: Route | null }[] }>('models');
        print(output, answer, (found) =>
          table(
            output,
            ['model', 'project', 'champion', 'canary', 'shadow', 'epoch'],
            found.models.map(({ name, project, route }) => [
              name,
              project,
              route === null ? '' : `v${route.champion}`,
              route === null || route.canary === null ? '' : `v${route.canary} (${route.canaryWeight / 100} %)`,
              route === null || route.shadow === null ? '' : `v${route.shadow}`,
              route?.epoch,
            ]),
          ),
        );
      }),
    );
  models
    .command('show')
    .argument('<model>')
    .description('one model: route, versions, the rollout under way')
    .addHelpText('after', '\nExample:\n  serin models show flight-delay')
    .action(
      action<GlobalOptions>(async ({ output, options, args: [model] }) => {
        const { api } = await openSession(options, 'viewer');
        const answer = await api.get<ModelDetails>(`models/${model}`);
        print(output, answer, ({ name, project, route, versions, activeRollout }) =>
          [
            fields({
              model: name,
              project,
              champion: route === null ? null : `v${route.champion}`,
              'last known good': route === null ? null : `v${route.lastKnownGood}`,
              canary:
                route === null || route.canary === null ? null : `v${route.canary} (${route.canaryWeight / 100} %)`,
              route: route === null ? null : `epoch ${route.epoch}: ${route.reason}`,
              rollout: activeRollout === null ? null : `${activeRollout.rolloutId} (${activeRollout.phase})`,
            }),
            '',
            table(
              output,
              ['version', 'kind', 'stage', 'training', 'feature set', 'auc', 'calibration', 'author', 'registered'],
              versions.map((each) => [
                `v${each.version}`,
                each.kind,
                each.stage,
                each.training,
                each.featureSet,
                each.evaluation?.auc?.value.toFixed(4),
                each.calibration,
                each.author,
                instant(each.registeredAt),
              ]),
            ),
          ].join('\n'),
        );
      }),
    );

  program
    .command('quality')
    .argument('<model>')
    .argument('[version]', 'the champion when left out')
    .description('live quality of a version, with 95 % intervals')
    .addHelpText('after', '\nExample:\n  serin quality flight-delay v2')
    .action(
      action<GlobalOptions>(async ({ output, options, args: [model, version] }) => {
        const { api } = await openSession(options, 'viewer');
        const answer = await api.get<{
          version: number;
          labelled: number;
          auc: Estimate | null;
          logLoss: Estimate | null;
          brier: Estimate | null;
        }>(`models/${model}/quality`, { query: { version: version === undefined ? undefined : readVersion(version) } });
        print(output, answer, (quality) =>
          fields({
            version: `v${quality.version}`,
            'labelled answers': quality.labelled,
            AUC: estimate(quality.auc),
            'log loss': estimate(quality.logLoss),
            Brier: estimate(quality.brier),
          }),
        );
      }),
    );

  const outcomes = program.command('outcomes').description('what came of predictions');
  outcomes
    .command('send')
    .argument('<model>')
    .argument('<file>', 'JSON lines of {predictionId, value, observedAt}, or a list; - reads standard input')
    .description('send outcomes; sending one again changes nothing')
    .addHelpText('after', '\nExample:\n  serin outcomes send flight-delay landed.jsonl')
    .action(
      action<GlobalOptions>(async ({ output, options, args: [model, file] }) => {
        const { api } = await openSession(options, 'operator');
        const rows = await readRows(file!);
        const sum = { received: 0, added: 0 };
        for (let from = 0; from < rows.length; from += OUTCOMES_PER_REQUEST) {
          const page = await api.post<typeof sum>(`models/${model}/outcomes`, {
            outcomes: rows.slice(from, from + OUTCOMES_PER_REQUEST),
          });
          sum.received += page.received;
          sum.added += page.added;
        }
        print(output, sum, ({ received, added }) => `${received} sent, ${added} new`);
      }),
    );

  program
    .command('alerts')
    .description('alerts of the monitors, newest first; ends with 1 while one is firing')
    .option('--model <model>')
    .option('--all', 'the resolved ones, too')
    .addHelpText('after', '\nExample:\n  serin alerts --model flight-delay')
    .action(
      action<GlobalOptions & { model?: string; all?: boolean }>(async ({ output, options }) => {
        const { api } = await openSession(options, 'viewer');
        const answer = await api.get<{
          alerts: {
            model: string;
            monitor: string;
            severity: string;
            status: string;
            owner: string;
            sentence: string;
            raisedAt: number;
          }[];
        }>('alerts', { query: { model: options.model, status: options.all === true ? undefined : 'firing' } });
        print(output, answer, ({ alerts }) =>
          table(
            output,
            ['raised', 'severity', 'status', 'model', 'monitor', 'owner', 'what'],
            alerts.map((each) => [
              instant(each.raisedAt),
              each.severity,
              each.status,
              each.model,
              each.monitor,
              each.owner,
              each.sentence,
            ]),
          ),
        );
        return answer.alerts.some(({ status }) => status === 'firing') ? EXIT.failed : EXIT.done;
      }),
    );

  const monitor = program.command('monitor').description('watch the production windows of a model');
  monitor
    .command('start')
    .argument('<model>')
    .description('run the monitors that its project declares, from now on')
    .addHelpText('after', '\nExample:\n  serin monitor start flight-delay')
    .action(
      action<GlobalOptions>(async ({ output, options, args: [model] }) => {
        const { api } = await openSession(options, 'engineer');
        const answer = await api.put<{ workflowId: string; status: string; links: { temporal: string } }>(
          `models/${model}/monitor`,
        );
        print(output, answer, ({ workflowId, status, links }) => `${workflowId} is ${status}\n${links.temporal}`);
      }),
    );
  monitor
    .command('stop')
    .argument('<model>')
    .description('stop watching')
    .addHelpText('after', '\nExample:\n  serin monitor stop flight-delay')
    .action(
      action<GlobalOptions>(async ({ output, options, args: [model] }) => {
        const { api } = await openSession(options, 'engineer');
        print(output, await api.delete<{ stopped: boolean }>(`models/${model}/monitor`), ({ stopped }) =>
          stopped ? 'stopped' : 'it was not watched',
        );
      }),
    );
}

/** `v2` or `2`. */
export function readVersion(text: string): number {
  const [, digits] = /^v?(\d{1,6})$/.exec(text) ?? [];
  if (digits === undefined) throw new SerinError('INPUT_INVALID', `"${text}" is no version; write v2 or 2`);
  return Number(digits);
}

function estimate(each: Estimate | null): string | null {
  return each === null ? null : `${each.value.toFixed(4)} (${each.low.toFixed(4)} … ${each.high.toFixed(4)})`;
}
