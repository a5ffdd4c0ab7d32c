import { SerinError } from '../errors.ts';

/** Where a registered version stands. There is no stage before `staging`: a run that failed its gates stays a run. */
export const STAGES = ['staging', 'candidate', 'production', 'archived'] as const;
export type Stage = (typeof STAGES)[number];

/** What brings a transition about. Nothing else moves a version, and nobody does it by hand around a rollout. */
export type StageCause =
  /** The shadow stage is over (or the policy asks for none). */
  | 'shadowPassed'
  /** The canary stages are over: the version became the champion. */
  | 'canaryPassed'
  /** A newer version is the champion and its watch is over. */
  | 'replaced'
  /** The rollout took the version back. */
  | 'rolledBack'
  /** A rollback made the last known good version the champion again after it had been archived. */
  | 'restored';

interface StageTransition {
  readonly from: Stage;
  readonly to: Stage;
  readonly cause: StageCause;
}

/** The whole table: what is not in it is refused. */
export const STAGE_TRANSITIONS: readonly StageTransition[] = [
  { from: 'staging', to: 'candidate', cause: 'shadowPassed' },
  { from: 'candidate', to: 'production', cause: 'canaryPassed' },
  { from: 'production', to: 'archived', cause: 'replaced' },
  { from: 'staging', to: 'archived', cause: 'rolledBack' },
  { from: 'candidate', to: 'archived', cause: 'rolledBack' },
  { from: 'production', to: 'archived', cause: 'rolledBack' },
  { from: 'archived', to: 'production', cause: 'restored' },
];

/** The stages a version may go to from `from`, whatever the cause. */
export function stagesAfter(from: Stage): readonly Stage[] {
  return [...new Set(STAGE_TRANSITIONS.filter((transition) => transition.from === from).map(({ to }) => to))];
}

/**
 * The stage a version is in after the transition; throws STAGE_TRANSITION_REFUSED, naming the allowed ones.
 * @param subject how a sentence names the version, for example `late-arrival v3`
 */
export function nextStage(
  from: Stage,
  to: Stage,
  { subject, cause }: { readonly subject: string; readonly cause: StageCause },
): Stage {
  if (
    STAGE_TRANSITIONS.some(
      (transition) => transition.from === from && transition.to === to && transition.cause === cause,
    )
  )
    return to;
  const allowed = STAGE_TRANSITIONS.filter((transition) => transition.from === from).map(
    (transition) => `${transition.to} (${transition.cause})`,
  );
  throw new SerinError(
    'STAGE_TRANSITION_REFUSED',
    `${subject} is in ${from} and cannot go to ${to} because of "${cause}"; from ${from} it can go to ${allowed.join(', ')}`,
    { fields: { from, to, cause, allowed } },
  );
}
