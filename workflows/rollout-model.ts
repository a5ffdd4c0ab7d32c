import {
  ActivityFailure,
  allHandlersFinished,
  ApplicationFailure,
  CancellationScope,
  condition,
  continueAsNew,
  log,
  setCurrentDetails,
  setHandler,
  workflowInfo,
} from '@temporalio/workflow';
import { SerinError } from '../domain/errors.ts';
import { refusalOf } from '../domain/rollout/commands.ts';
import { decide } from '../domain/rollout/decide.ts';
import { describe, stageLabel } from '../domain/rollout/describe.ts';
import type { AnalysisPhase } from '../domain/rollout/evidence.ts';
import {
  type Actor,
  analysisPhaseOf,
  canaryWeightPercent,
  COMMANDS,
  type Effect,
  isFinal,
  nextWakeAt,
  PLANNED,
  type RolloutCommand,
  type RolloutEvent,
  type RolloutState,
} from '../domain/rollout/state.ts';
import { MICROS_PER_MILLISECOND } from '../domain/time.ts';
import { acknowledgement, control, traffic } from './activity-proxies.ts';
import {
  type CommandInput,
  type CommandResult,
  commandUpdates,
  type RolloutCarried,
  type RolloutModelInput,
  type RolloutModelResult,
  rolloutQuery,
} from './messages.ts';
import { tagModel, tagStage } from './search-attributes.ts';

/** Commands whose ids are remembered, so that one sent twice is obeyed once even across runs. */
const REMEMBERED_COMMANDS = 500;

type InboxEvent = { readonly event: RolloutEvent; readonly commandId?: string };

/** Who aborts a rollout whose workflow is cancelled, in the record. */
const CANCELLER: Actor = { id: 'temporal', roles: ['operator'] };

/** A rollout ends by its own rules: a cancelled one is aborted, so that it never leaves traffic behind on a version nobody watches. */
export async function rolloutModel(input: RolloutModelInput): Promise<RolloutModelResult> {
  const { cancelRequested } = CancellationScope.current();
  return CancellationScope.nonCancellable(() => carryThrough(input, cancelRequested));
}

/**
 * Carries one rollout to its end. It waits for a command, the nodes, a timer or new evidence, asks the state machine what
 * follows, and carries the effects out, in order. All rules are in `domain/rollout/`.
 */
async function carryThrough(
  { spec, carried }: RolloutModelInput,
  cancelRequested: Promise<never>,
): Promise<RolloutModelResult> {
  let memory: RolloutCarried = carried ?? {
    state: PLANNED,
    looks: 0,
    epochs: [],
    records: 0,
    replaced: null,
    decidedCommands: [],
  };
  let nextLookAt = now() + spec.policy.lookEveryMs * MICROS_PER_MILLISECOND;
  let nodes: CancellationScope | undefined;
  const inbox: InboxEvent[] = [];
  /** Of the commands of this run; null while one waits for its turn. */
  const answers = new Map<string, CommandResult | SerinError | null>();

  cancelRequested.catch(() => {
    inbox.push({ event: { type: 'abort', actor: CANCELLER, reason: 'its workflow was cancelled', at: now() } });
  });

  for (const name of COMMANDS) {
    setHandler(commandUpdates[name], (input) => obey(input), {
      validator: ({ commandId, command }: CommandInput) => {
        if (isKnown(commandId)) return;
        const refusal = refusalOf(spec, memory.state, { ...command, at: now() });
        if (refusal !== null) throw asFailure(refusal);
      },
      description: `${name} this rollout`,
    });
  }
  setHandler(
    rolloutQuery,
    () => ({ spec, state: memory.state, looks: memory.looks, details: describe(spec, memory.state) }),
    { description: 'Where the rollout stands' },
  );

  tagModel(spec.model, spec.version);
  if (carried === undefined) {
    await control.openRollout({ spec });
    await apply({ event: { type: 'Started', at: now() } });
  } else {
    showState(PLANNED, memory.state);
    const epoch = memory.epochs.at(-1)?.epoch;
    if (epoch !== undefined) followNodes(epoch);
  }

  while (!isFinal(memory.state)) {
    if (workflowInfo().continueAsNewSuggested && inbox.length === 0) {
      await condition(allHandlersFinished);
      if (inbox.length === 0) await continueAsNew<typeof rolloutModel>({ spec, carried: memory });
    }
    await apply(inbox.shift() ?? (await nextEvent()));
  }

  nodes?.cancel();
  for (const { commandId } of inbox.splice(0)) {
    if (commandId !== undefined)
      answers.set(
        commandId,
        new SerinError('ROLLOUT_ENDED', `the rollout of ${spec.model} v${spec.version} has ended`),
      );
  }
  await condition(allHandlersFinished);
  const { state } = memory;
  return state.phase === 'rolledBack'
    ? { outcome: 'rolledBack', reason: state.reason, looks: memory.looks }
    : { outcome: 'promoted', reason: 'every stage was passed and the watch found no harm', looks: memory.looks };

  /** The answer to a command, once the loop has come to it. The same id again waits for the same answer. */
  async function obey({ commandId, command }: CommandInput): Promise<CommandResult> {
    if (!isKnown(commandId)) {
      answers.set(commandId, null);
      inbox.push({ event: { ...command, at: now() }, commandId });
    }
    await condition(() => answers.get(commandId) !== null);
    const answer = answers.get(commandId) ?? standing(); // one of an earlier run has no answer here any more
    if (answer instanceof SerinError) throw asFailure(answer);
    return answer;
  }

  function isKnown(commandId: string): boolean {
    return answers.has(commandId) || memory.decidedCommands.includes(commandId);
  }

  function standing(): CommandResult {
    return { phase: memory.state.phase, details: describe(spec, memory.state) };
  }

  /** Waits until something comes in, a look is due or the state's own clock runs out. */
  async function nextEvent(): Promise<InboxEvent> {
    const { state } = memory;
    const phase = analysisPhaseOf(state);
    const wakeAt = Math.min(phase === null ? Infinity : nextLookAt, nextWakeAt(state) ?? Infinity);
    const came = () => inbox.length > 0;
    if (Number.isFinite(wakeAt)) {
      const waitMs = Math.max(1, Math.ceil((wakeAt - now()) / MICROS_PER_MILLISECOND));
      await condition(came, waitMs, { summary: phase === null ? 'until the deadline' : 'until the next look' });
    } else {
      await condition(came);
    }
    const first = inbox.shift();
    if (first !== undefined) return first;
    if (phase === null || now() < nextLookAt) return { event: { type: 'TimerFired', at: now() } };
    return look(phase);
  }

  /**
   * Looks at the evidence, unless something comes in first: an abort does not wait for a database. A look that was left
   * unfinished is made again under its number. One that fails for good is no evidence; the stage's deadline decides then.
   */
  async function look(phase: AnalysisPhase): Promise<InboxEvent> {
    const looks = memory.looks + 1;
    const scope = new CancellationScope();
    const seen: { evidence?: Awaited<ReturnType<typeof control.collectEvidence>>; failure?: unknown } = {};
    const collected = scope.run(() =>
      control.collectEvidence.executeWithOptions({ summary: `look ${looks} · ${stageLabel(memory.state)}` }, [
        { rolloutId: spec.rolloutId, look: looks, phase, epochs: memory.epochs },
      ]),
    );
    collected.then(
      (evidence) => (seen.evidence = evidence),
      (failure: unknown) => (seen.failure = failure),
    );
    await condition(() => inbox.length > 0 || seen.evidence !== undefined || seen.failure !== undefined);
    const first = inbox.shift();
    if (first !== undefined) {
      scope.cancel();
      return first;
    }
    nextLookAt = now() + spec.policy.lookEveryMs * MICROS_PER_MILLISECOND;
    if (seen.evidence === undefined) {
      if (!(seen.failure instanceof ActivityFailure)) throw seen.failure;
      log.warn('the evidence cannot be collected', {
        look: looks,
        phase,
        reason: seen.failure.cause?.message ?? seen.failure.message,
      });
      return { event: { type: 'TimerFired', at: now() } };
    }
    memory = { ...memory, looks };
    return { event: { type: 'EvidenceArrived', at: now(), ...seen.evidence } };
  }

  /** One turn of the state machine: the decision, its effects, and what readers see of it. */
  async function apply({ event, commandId }: InboxEvent): Promise<void> {
    const before = memory.state;
    const refusal = commandId === undefined ? null : refusalOf(spec, before, event as RolloutCommand);
    const { state, effects } = decide(spec, before, event);
    memory = { ...memory, state };
    showState(before, state);
    for (const effect of effects) {
      try {
        await carryOut(effect);
      } catch (error) {
        if (!(error instanceof ActivityFailure)) throw error;
        inbox.unshift({
          event: {
            type: 'EffectFailed',
            at: now(),
            effect: effect.type,
            detail: error.cause?.message ?? error.message,
          },
        });
        break;
      }
    }
    if (state !== before) {
      await control.saveRollout({ rolloutId: spec.rolloutId, state, endedAt: isFinal(state) ? now() : null });
    }
    if (commandId === undefined) return;
    answers.set(commandId, refusal ?? standing());
    // a refused one may be given again in a later run, where it is judged anew
    if (refusal === null)
      memory = { ...memory, decidedCommands: [...memory.decidedCommands, commandId].slice(-REMEMBERED_COMMANDS) };
  }

  async function carryOut(effect: Effect): Promise<void> {
    const { model, version, rolloutId } = spec;
    switch (effect.type) {
      case 'SetRoute': {
        const summary =
          effect.route.kind === 'canary' ? `${effect.route.weightPercent} % → v${version}` : effect.route.kind;
        const { epoch } = await traffic.setRoute.executeWithOptions({ summary }, [
          { rolloutId, model, version, target: effect.route },
        ]);
        return rememberEpoch(epoch);
      }
      case 'Promote': {
        const { epoch, replaced } = await traffic.promote.executeWithOptions({ summary: `v${version} → champion` }, [
          { rolloutId, model, version },
        ]);
        memory = { ...memory, replaced };
        return rememberEpoch(epoch);
      }
      case 'RouteToLastKnownGood': {
        const { epoch } = await traffic.routeToLastKnownGood.executeWithOptions(
          { summary: `v${version} → last known good` },
          [{ model, version, reason: effect.reason }],
        );
        return rememberEpoch(epoch);
      }
      case 'TransitionStage': {
        const subject = effect.subject === 'version' ? version : memory.replaced;
        if (subject === null) return;
        await traffic.transitionStage.executeWithOptions({ summary: `v${subject} → ${effect.to}` }, [
          { model, version: subject, subject: effect.subject, to: effect.to, reason: effect.reason, rolloutId },
        ]);
        return;
      }
      case 'RecordDecision': {
        const records = memory.records + 1;
        await control.recordDecision.executeWithOptions({ summary: effect.decision }, [
          {
            subject: rolloutId,
            kind: effect.decision,
            actor: effect.actor?.id ?? 'rollout',
            reason: effect.sentence,
            evidenceSha256: effect.evidenceDigest,
            payload: { model, version, roles: effect.actor?.roles ?? [] },
            idempotencyKey: `${rolloutId}/${records}`,
            decidedAt: effect.at,
          },
        ]);
        memory = { ...memory, records };
        return;
      }
      case 'NotifyApprovers':
        await control.notifyApprovers.executeWithOptions({ summary: effect.sentence }, [
          {
            rolloutId,
            model,
            version,
            role: effect.role,
            sentence: effect.sentence,
            evidenceDigest: effect.evidenceDigest,
          },
        ]);
        return;
    }
  }

  function rememberEpoch(epoch: number): void {
    memory = { ...memory, epochs: [...memory.epochs, { epoch, weightPercent: canaryWeightPercent(memory.state) }] };
    followNodes(epoch);
  }

  /** Tells the state machine when every live node routes by `epoch`; a newer epoch ends the wait for an older one. */
  function followNodes(epoch: number): void {
    nodes?.cancel();
    const scope = new CancellationScope();
    nodes = scope;
    scope
      .run(async () => {
        await acknowledgement.awaitAcknowledgement.executeWithOptions({ summary: `epoch ${epoch}` }, [
          { model: spec.model, epoch },
        ]);
        inbox.push({ event: { type: 'NodesAcknowledged', at: now(), epoch } });
      })
      .catch(() => undefined); // cancelled by a newer epoch, or out of time: the stage's own deadline decides
  }

  function showState(before: RolloutState, state: RolloutState): void {
    setCurrentDetails(describe(spec, state));
    if (stageLabel(before) !== stageLabel(state)) {
      tagStage(stageLabel(state), isFinal(state) ? state.phase : 'under way');
    }
  }
}

function now(): number {
  return Date.now() * MICROS_PER_MILLISECOND;
}

/** What a caller of an Update sees: the code as the type, so that the API can answer with the same problem. */
function asFailure(error: SerinError): ApplicationFailure {
  return ApplicationFailure.create({
    message: error.message,
    type: error.code,
    nonRetryable: true,
    details: [error.fields],
  });
}
