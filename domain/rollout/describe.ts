import { formatTime } from '../features/time-text.ts';
import type { Micros } from '../time.ts';
import { approvalRuleOf, PHASE_WORDS } from './commands.ts';
import type { Finding } from './evidence.ts';
import { canaryWeightPercent } from './state.ts';
import type { RolloutSpec, RolloutState } from './state.ts';

/**
 * Where a rollout stands, in a few lines of Markdown: the current details that the Temporal UI shows.
 * @param findings of the latest look, listed below the state
 */
export function describe(spec: RolloutSpec, state: RolloutState, findings: readonly Finding[] = []): string {
  const lines = [
    `**${spec.model} v${spec.version}**: ${sentenceOf(spec, state)}`,
    '',
    stagesLine(spec, state),
    ...(findings.length === 0 ? [] : ['', ...findings.map(({ verdict, sentence }) => `- ${verdict}: ${sentence}`)]),
  ];
  return lines.join('\n');
}

/** One short label per stage, for search attributes and summaries: `shadow`, `5 %`, `approval at 20 %`, `promoted`. */
export function stageLabel(state: RolloutState): string {
  switch (state.phase) {
    case 'shadowing':
      return 'shadow';
    case 'ramping':
      return `${state.weightPercent} %`;
    case 'awaitingApproval':
      return `approval at ${state.weightPercent} %`;
    case 'paused':
    case 'frozen':
      return `${state.phase} at ${state.resumeTo.weightPercent} %`;
    case 'watching':
      return 'watch';
    case 'planned':
    case 'promoted':
    case 'rollingBack':
    case 'rolledBack':
      return PHASE_WORDS[state.phase];
  }
}

function sentenceOf(spec: RolloutSpec, state: RolloutState): string {
  const { stages } = spec.policy;
  switch (state.phase) {
    case 'planned':
      return 'planned, no traffic yet';
    case 'shadowing':
      return `in shadow, it answers nobody; ${clockText(state)}`;
    case 'ramping':
      return `stage ${state.stage + 1} of ${stages.length} with ${state.weightPercent} % of the traffic; ${clockText(state)}`;
    case 'awaitingApproval': {
      const rule = approvalRuleOf(spec, state.stage);
      const next = stages[state.stage]?.weightPercent ?? 100;
      return `waits for approval of stage ${state.stage + 1} (${next} %): ${state.approvals.length} of ${rule?.count ?? 0} of role ${rule?.role ?? ''}, until ${instant(state.expiresAt)}, evidence \`${state.evidenceDigest}\``;
    }
    case 'paused':
      return `paused at ${state.resumeTo.weightPercent} % since ${instant(state.pausedAt)}: ${state.reason}`;
    case 'frozen':
      return `frozen at ${state.resumeTo.weightPercent} % since ${instant(state.pausedAt)}: ${state.reason}`;
    case 'watching':
      return `the champion since ${instant(state.promotedAt)}; the version before it is kept warm until ${instant(state.deadlineAt)}`;
    case 'promoted':
      return `promoted at ${instant(state.promotedAt)}, its watch closed at ${instant(state.endedAt)}`;
    case 'rollingBack':
      return `rolling back: ${state.reason}`;
    case 'rolledBack':
      return `rolled back at ${instant(state.endedAt)}: ${state.reason}`;
  }
}

function clockText({
  clockStartedAt,
  deadlineAt,
}: {
  readonly clockStartedAt: Micros | null;
  readonly deadlineAt: Micros | null;
}): string {
  if (clockStartedAt === null) return 'its clock starts when every node has taken the route';
  return deadlineAt === null
    ? 'held past its deadline until the evidence decides'
    : `until ${instant(deadlineAt)} at the latest`;
}

function stagesLine(spec: RolloutSpec, state: RolloutState): string {
  const weight = canaryWeightPercent(state);
  const names = [
    ...(spec.policy.shadow === null ? [] : [mark('shadow', state.phase === 'shadowing')]),
    ...spec.policy.stages
      .filter(({ weightPercent }) => weightPercent < 100)
      .map(({ weightPercent }) => mark(`${weightPercent} %`, weightPercent === weight)),
    mark('100 %', state.phase === 'promoted'),
    mark('watch', state.phase === 'watching'),
  ];
  return names.join(' → ');
}

function mark(name: string, isHere: boolean): string {
  return isHere ? `**${name}**` : name;
}

/** `2001-06-01 12:00:00 UTC`. */
function instant(at: Micros): string {
  return `${formatTime(at).slice(0, 19).replace('T', ' ')} UTC`;
}
