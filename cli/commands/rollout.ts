import type { Command } from 'commander';
import { SerinError } from '../../domain/errors.ts';
import type { Finding } from '../../domain/rollout/evidence.ts';
import type { RolloutPlan } from '../../domain/rollout/plan.ts';
import type { CommandType } from '../../domain/rollout/state.ts';
import type { ApiClient } from '../api-client.ts';
import { EXIT, type ExitCode } from '../exit-codes.ts';
import { followOperation } from '../follow-operation.ts';
import { instant, type Output, print, table } from '../output.ts';
import type { CliContext } from '../run-cli.ts';
import { type GlobalOptions, openSession } from '../session.ts';
import { durationMs } from './training.ts';
import { readVersion } from './models.ts';

interface RolloutSummary {
  readonly rolloutId: string;
  readonly model: string;
  readonly version: number;
  readonly phase: string;
  readonly stage: string;
  readonly weightPercent: number;
  readonly startedAt: number;
  readonly endedAt: number | null;
  readonly links: { readonly temporal: string };
}
interface RolloutDetails extends RolloutSummary {
  readonly details: string;
  readonly commands: readonly string[];
  readonly evidenceDigest: string | null;
  readonly looks: readonly { readonly look: number; readonly verdict: string; readonly findings: readonly Finding[] }[];
}
interface RolloutResult {
  readonly outcome: 'promoted' | 'rolledBack';
  readonly reason: string;
  readonly looks: number;
}
interface Commanding extends GlobalOptions {
  readonly reason: string;
  readonly evidence?: string;
  readonly commandId?: string;
}

const WATCH_EVERY_MS = 1_000;

/** Command, what it does, and as whom it is given where no one is named. */
const COMMANDS: readonly (readonly [CommandType, string, 'approver' | 'operator'])[] = [
  ['approve', 'let the stage that waits take its traffic; the findings are shown first', 'approver'],
  ['reject', 'refuse the stage that waits', 'approver'],
  ['pause', 'let nothing move forward; harm still rolls back', 'operator'],
  ['resume', 'go on after a pause or a freeze', 'operator'],
  ['skip', 'end the stage before its evidence is complete', 'operator'],
  ['abort', 'end the rollout and take its traffic back', 'operator'],
  ['rollback', 'take its traffic back', 'operator'],
  ['freeze', 'let nothing move at all, back included', 'operator'],
];

export function register(program: Command, { action }: CliContext): void {
  const rollout = program.command('rollout').description('bring a version to the traffic, step by step');

  rollout
    .command('start')
    .argument('<model>')
    .argument('<version>')
    .description('roll a version out by the policy of its project')
    .option('--watch', 'follow it to its end')
    .option('--dry-run', 'say what stands in its way, start nothing')
    .addHelpText('after', '\nExample:\n  serin rollout start flight-delay v2 --watch')
    .action(
      action<GlobalOptions & { watch?: boolean; dryRun?: boolean }>(
        async ({ output, options, args: [model, version] }) => {
          const { api } = await openSession(options, 'engineer');
          const number = readVersion(version!);
          if (options.dryRun === true) return dryRun(api, output, model!, number);
          const code = await followOperation<RolloutResult>(
            { api, output, wait: false },
            `models/${model}/rollouts`,
            { version: number },
            ({ result }) => ended(model!, number, result!),
          );
          return options.watch === true
            ? watch(api, output, model!, number, null)
            : code === EXIT.running
              ? EXIT.done
              : code;
        },
      ),
    );

  rollout
    .command('list')
    .description('rollouts, newest first')
    .option('--model <model>')
    .addHelpText('after', '\nExample:\n  serin rollout list')
    .action(
      action<GlobalOptions & { model?: string }>(async ({ output, options }) => {
        const { api } = await openSession(options, 'viewer');
        const answer = await api.get<{ rollouts: RolloutSummary[] }>('rollouts', { query: { model: options.model } });
        print(output, answer, ({ rollouts }) =>
          table(
            output,
            ['model', 'version', 'stage', 'started', 'ended'],
            rollouts.map((each) => [
              each.model,
              `v${each.version}`,
              each.stage,
              instant(each.startedAt),
              instant(each.endedAt),
            ]),
          ),
        );
      }),
    );

  rollout
    .command('status')
    .argument('<model>')
    .argument('[version]', 'the newest rollout when left out')
    .description('where a rollout stands, and what it saw')
    .addHelpText('after', '\nExample:\n  serin rollout status flight-delay')
    .action(
      action<GlobalOptions>(async ({ output, options, args: [model, version] }) => {
        const { api } = await openSession(options, 'viewer');
        print(output, await findRollout(api, model!, version), statusText);
      }),
    );

  rollout
    .command('watch')
    .argument('<model>')
    .argument('[version]', 'the newest rollout when left out')
    .description('follow a rollout; ends with 0 when it is promoted, 1 when it is rolled back')
    .option('--for <duration>', 'give up after so long (such as 10m), with 8')
    .addHelpText('after', '\nExample:\n  serin rollout watch flight-delay --for 1h')
    .action(
      action<GlobalOptions & { for?: string }>(async ({ output, options, args: [model, version] }) => {
        const { api } = await openSession(options, 'viewer');
        const { version: number } = await findRollout(api, model!, version);
        return watch(api, output, model!, number, options.for === undefined ? null : durationMs(options.for));
      }),
    );

  for (const [type, does, role] of COMMANDS) {
    const command = rollout
      .command(type)
      .argument('<model>')
      .argument('[version]', 'the newest rollout when left out')
      .description(does)
      .requiredOption('--reason <text>', 'for the record')
      .option('--command-id <id>', 'chosen by you, so that sending it again is the same command');
    if (type === 'approve') command.option('--evidence <digest>', 'what you looked at; the newest when left out');
    command.addHelpText('after', `\nExample:\n  serin rollout ${type} flight-delay --reason "…"`).action(
      action<Commanding>(async ({ output, options, args: [model, version] }) => {
        const { api } = await openSession(options, role);
        const current = await findRollout(api, model!, version);
        if (type === 'approve' && options.evidence === undefined) output.note(findingLines(current));
        const evidenceDigest =
          type === 'approve' ? (options.evidence ?? current.evidenceDigest ?? undefined) : undefined;
        const answer = await api.post<{ phase: string; details: string; commandId: string }>(
          `rollouts/${model}/${current.version}/commands`,
          {
            type,
            reason: options.reason,
            ...(evidenceDigest !== undefined && { evidenceDigest }),
            ...(options.commandId !== undefined && { commandId: options.commandId }),
          },
        );
        print(output, answer, ({ details }) => plain(details));
      }),
    );
  }

  rollout
    .command('plan')
    .argument('<model>')
    .argument('[version]', 'the newest version when left out')
    .description('what a rollout could find out with so much traffic')
    .requiredOption('--rps <n>', 'requests per second')
    .option('--labelled <share>', 'share of requests whose outcome arrives in time, 0 to 1', '0')
    .addHelpText('after', '\nExample:\n  serin rollout plan flight-delay v2 --rps 200 --labelled 0.9')
    .action(
      action<GlobalOptions & { rps: string; labelled: string }>(async ({ output, options, args: [model, version] }) => {
        const { api } = await openSession(options, 'viewer');
        const plan = await api.post<RolloutPlan>(`models/${model}/rollouts/plan`, {
          requestsPerSecond: Number(options.rps),
          labelledShare: Number(options.labelled),
          ...(version !== undefined && { version: readVersion(version) }),
        });
        print(output, plan, ({ sentences }) => sentences.join('\n'));
        return plan.canDecide ? EXIT.done : EXIT.failed;
      }),
    );

  program
    .command('rollback')
    .argument('<model>')
    .description('take the traffic of a model back to its last known good version, whatever is under way')
    .requiredOption('--reason <text>', 'for the record')
    .option('--dry-run', 'say what would answer, move nothing')
    .option('--no-wait', 'do not wait for every node')
    .addHelpText('after', '\nExample:\n  serin rollback flight-delay --reason "complaints from two airports"')
    .action(
      action<GlobalOptions & { reason: string; dryRun?: boolean; wait: boolean }>(
        async ({ output, options, args: [model] }) => {
          const { api } = await openSession(options, 'operator');
          if (options.dryRun === true) {
            const { route } = await api.get<{
              route: { champion: number; lastKnownGood: number; canary: number | null };
            }>(`models/${model}`);
            print(output, route, ({ champion, lastKnownGood, canary }) =>
              canary === null
                ? `v${champion} answers; v${lastKnownGood} would`
                : `v${canary} would lose its share; v${champion} answers alone`,
            );
            return EXIT.done;
          }
          const answer = await api.post<{ workflowId?: string; details?: string; status?: string }>(
            `models/${model}/rollback`,
            { reason: options.reason },
          );
          if (answer.workflowId === undefined) {
            print(output, answer, ({ details }) => plain(details ?? ''));
            return EXIT.done;
          }
          if (!options.wait) {
            print(output, answer, ({ workflowId, status }) => `${workflowId} is ${status}`);
            return answer.status === 'running' ? EXIT.running : EXIT.done;
          }
          const done = await api.follow<{ champion: number; replaced: number; epoch: number }>(answer.workflowId);
          print(
            output,
            done,
            ({ result }) =>
              `v${result!.champion} answers again instead of v${result!.replaced}, at epoch ${result!.epoch} on every node`,
          );
          return EXIT.done;
        },
      ),
    );
}

async function findRollout(api: ApiClient, model: string, version: string | undefined): Promise<RolloutDetails> {
  let number = version === undefined ? undefined : readVersion(version);
  if (number === undefined) {
    const { rollouts } = await api.get<{ rollouts: RolloutSummary[] }>('rollouts', { query: { model, limit: 1 } });
    const [newest] = rollouts;
    if (newest === undefined) {
      throw new SerinError(
        'ROLLOUT_NOT_FOUND',
        `the model "${model}" was never rolled out; start with: serin rollout start ${model} VERSION`,
      );
    }
    number = newest.version;
  }
  return api.get<RolloutDetails>(`rollouts/${model}/${number}`);
}

async function watch(
  api: ApiClient,
  output: Output,
  model: string,
  version: number,
  forMs: number | null,
): Promise<ExitCode> {
  const deadline = forMs === null ? Infinity : performance.now() + forMs;
  let last = '';
  for (;;) {
    const rollout = await api.get<RolloutDetails>(`rollouts/${model}/${version}`).catch((error: unknown) => {
      // the workflow that opens the rollout may not have come to it yet
      if (error instanceof SerinError && error.code === 'ROLLOUT_NOT_FOUND' && last === '') return null;
      throw error;
    });
    const line = rollout === null ? 'starting' : lineOf(rollout);
    if (line !== last) output.note(line);
    last = line;
    if (rollout !== null && rollout.endedAt !== null) {
      print(output, rollout, statusText);
      return rollout.phase === 'promoted' ? EXIT.done : EXIT.failed;
    }
    if (performance.now() > deadline) {
      if (rollout !== null) print(output, rollout, statusText);
      return EXIT.running;
    }
    await new Promise((resolve) => setTimeout(resolve, WATCH_EVERY_MS));
  }
}

async function dryRun(api: ApiClient, output: Output, model: string, version: number): Promise<ExitCode> {
  const { versions, activeRollout } = await api.get<{
    versions: { version: number; stage: string }[];
    activeRollout: { rolloutId: string } | null;
  }>(`models/${model}`);
  const found = versions.find((each) => each.version === version);
  const obstacles = [
    ...(found === undefined ? [`there is no v${version}`] : []),
    ...(found !== undefined && found.stage !== 'staging' ? [`v${version} is in ${found.stage}, not in staging`] : []),
    ...(activeRollout === null ? [] : [`${activeRollout.rolloutId} is under way`]),
  ];
  print(output, { model, version, obstacles }, () =>
    obstacles.length === 0 ? `v${version} can be rolled out; nothing was started` : obstacles.join('\n'),
  );
  return obstacles.length === 0 ? EXIT.done : EXIT.failed;
}

function lineOf({ stage, looks }: RolloutDetails): string {
  const last = looks.at(-1);
  return last === undefined ? stage : `${stage} · look ${last.look}: ${last.verdict}`;
}

function statusText(rollout: RolloutDetails): string {
  const next = rollout.commands.length === 0 ? [] : [`takes: ${rollout.commands.join(', ')}`];
  const evidence = rollout.evidenceDigest === null ? [] : [`evidence: ${rollout.evidenceDigest}`];
  return [plain(rollout.details), ...evidence, ...next, rollout.links.temporal].join('\n');
}

function findingLines({ looks, evidenceDigest }: RolloutDetails): string {
  const findings = looks.at(-1)?.findings ?? [];
  return [
    `evidence ${evidenceDigest ?? '(none)'}`,
    ...findings.map(({ verdict, sentence }) => `  ${verdict}: ${sentence}`),
  ].join('\n');
}

function ended(model: string, version: number, { outcome, reason }: RolloutResult): string {
  return `${model} v${version} ${outcome}: ${reason}`;
}

/** Markdown for the Temporal UI, without its marks. */
function plain(markdown: string): string {
  return markdown.replaceAll(/\*\*|`/g, '');
}
