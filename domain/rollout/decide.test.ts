import fc from 'fast-check';
import { expect, test } from 'vitest';
import { COMMANDS_BY_PHASE } from './commands.ts';
import { decide } from './decide.ts';
import type { Verdict } from './evidence.ts';
import { DEADLINE_POLICIES } from './policy.ts';
import {
  approver,
  aSpec,
  author,
  command,
  DIGEST,
  evidence,
  operator,
  SECOND,
  secondApprover,
  viewer,
} from './rollout-fixtures.ts';
import { analysisPhaseOf, canaryWeightPercent, COMMANDS, isFinal, nextWakeAt, PLANNED } from './state.ts';
import type { CommandType, Effect, RolloutEvent, RolloutSpec, RolloutState } from './state.ts';

interface Played {
  readonly state: RolloutState;
  readonly effects: readonly Effect[];
}

/** Plays events in order from the start; `effects` are all that were ordered on the way. */
function play(spec: RolloutSpec, events: readonly RolloutEvent[], from: RolloutState = PLANNED): Played {
  return events.reduce<Played>(
    ({ state, effects }, event) => {
      const decision = decide(spec, state, event);
      return { state: decision.state, effects: [...effects, ...decision.effects] };
    },
    { state: from, effects: [] },
  );
}

const started: RolloutEvent = { type: 'Started', at: 0 };
const acknowledged = (epoch: number, seconds: number): RolloutEvent => ({
  type: 'NodesAcknowledged',
  epoch,
  at: seconds * SECOND,
});
const timer = (seconds: number): RolloutEvent => ({ type: 'TimerFired', at: seconds * SECOND });

const toShadow = [started, acknowledged(1, 1)];
const toFirstStage = [...toShadow, evidence('shadow', 'advance', 12), acknowledged(2, 13)];
const toSecondStage = [...toFirstStage, evidence('stage:0', 'advance', 24), acknowledged(3, 25)];
const toApproval = [...toSecondStage, evidence('stage:1', 'advance', 36)];
const toWatch = [...toApproval, command('approve', approver, 40, DIGEST)];

function orders(effects: readonly Effect[]): string[] {
  return effects.flatMap((effect) => {
    switch (effect.type) {
      case 'SetRoute':
        return [effect.route.kind === 'canary' ? `canary ${effect.route.weightPercent}` : effect.route.kind];
      case 'TransitionStage':
        return [`${effect.subject} to ${effect.to}`];
      case 'Promote':
      case 'RouteToLastKnownGood':
      case 'NotifyApprovers':
        return [effect.type];
      case 'RecordDecision':
        return [];
    }
  });
}

test('a sound version goes through shadow, 5 %, 20 %, an approval and the watch, and is promoted', () => {
  const { state, effects } = play(aSpec(), [...toWatch, acknowledged(4, 41), timer(71)]);
  expect(state).toEqual({ phase: 'promoted', promotedAt: 40 * SECOND, endedAt: 71 * SECOND });
  expect(orders(effects)).toEqual([
    'shadow',
    'version to candidate',
    'canary 5',
    'canary 20',
    'NotifyApprovers',
    'Promote',
    'version to production',
    'replaced to archived',
  ]);
});

test('without a shadow stage the first weight is set at the start', () => {
  const { state, effects } = play(aSpec({ shadow: null }), [started]);
  expect(state).toMatchObject({ phase: 'ramping', stage: 0, weightPercent: 5 });
  expect(orders(effects)).toEqual(['version to candidate', 'canary 5']);
});

test('harm on the canary takes its traffic away and archives the version once all nodes route without it', () => {
  const harmed = play(aSpec(), [...toFirstStage, evidence('stage:0', 'rollback', 15)]);
  expect(harmed.state).toMatchObject({ phase: 'rollingBack', reason: 'errors say rollback', afterPromotion: false });
  expect(canaryWeightPercent(harmed.state)).toBe(0);
  expect(orders(harmed.effects).at(-1)).toBe('championOnly');
  const ended = play(aSpec(), [acknowledged(3, 16)], harmed.state);
  expect(ended.state).toMatchObject({ phase: 'rolledBack' });
  expect(orders(ended.effects)).toEqual(['version to archived']);
});

test('harm in the watch brings the last known good version back', () => {
  const { state, effects } = play(aSpec(), [
    ...toWatch,
    acknowledged(4, 41),
    evidence('watch', 'rollback', 50),
    acknowledged(5, 51),
  ]);
  expect(state.phase).toBe('rolledBack');
  expect(orders(effects).slice(-2)).toEqual(['RouteToLastKnownGood', 'version to archived']);
});

test('harm measured for a stage that has passed still rolls back', () => {
  expect(play(aSpec(), [...toSecondStage, evidence('stage:0', 'rollback', 26)]).state.phase).toBe('rollingBack');
});

test('good evidence for another stage moves nothing', () => {
  const { state } = play(aSpec(), [...toSecondStage, evidence('stage:0', 'advance', 50)]);
  expect(state).toMatchObject({ phase: 'ramping', stage: 1 });
});

test('a stage does not advance before all nodes have taken its route, whatever the evidence says', () => {
  const { state } = play(aSpec(), [...toShadow, evidence('shadow', 'advance', 12), evidence('stage:0', 'advance', 40)]);
  expect(state).toMatchObject({ phase: 'ramping', stage: 0, clockStartedAt: null });
});

test('a stage does not advance before its least duration, counted from the acknowledgement', () => {
  const early = play(aSpec(), [...toFirstStage, evidence('stage:0', 'advance', 22)]);
  expect(early.state).toMatchObject({ phase: 'ramping', stage: 0 });
  expect(play(aSpec(), [evidence('stage:0', 'advance', 23)], early.state).state).toMatchObject({ stage: 1 });
});

test('the promotion waits for the whole bake', () => {
  const spec = aSpec({ minBakeMs: 40_000 });
  expect(play(spec, toApproval).state).toMatchObject({ phase: 'ramping', stage: 1 });
  expect(play(spec, [...toSecondStage, evidence('stage:1', 'advance', 53)]).state.phase).toBe('awaitingApproval');
});

test('an acknowledgement of an older epoch starts no clock', () => {
  const { state } = play(aSpec(), [...toShadow, evidence('shadow', 'advance', 12), acknowledged(1, 13)]);
  expect(state).toMatchObject({ phase: 'ramping', clockStartedAt: null });
});

test('an abort while ramping sends all traffic back to the champion', () => {
  const { state, effects } = play(aSpec(), [...toSecondStage, command('abort', operator, 30)]);
  expect(state).toMatchObject({ phase: 'rollingBack', reason: 'abort in a test' });
  expect(orders(effects).at(-1)).toBe('championOnly');
});

test('an approval by the author is refused and recorded', () => {
  const { state, effects } = play(aSpec(), [...toApproval, command('approve', author, 40, DIGEST)]);
  expect(state).toMatchObject({ phase: 'awaitingApproval', approvals: [] });
  expect(effects.at(-1)).toMatchObject({ type: 'RecordDecision', decision: 'commandRefused', actor: author });
});

test('a rejection rolls back and names who said no', () => {
  const { state } = play(aSpec(), [...toApproval, command('reject', approver, 40)]);
  expect(state).toMatchObject({ phase: 'rollingBack', reason: 'rejected by grace: reject in a test' });
});

test('two of two approvers must be two people', () => {
  const [five, twenty, all] = aSpec().policy.stages;
  const spec = aSpec({
    stages: [five!, twenty!, { ...all!, approval: { role: 'approver', count: 2, expiresMs: 30_000 } }],
  });
  const one = play(spec, [
    ...toApproval,
    command('approve', approver, 38, DIGEST),
    command('approve', approver, 39, DIGEST),
  ]);
  expect(one.state).toMatchObject({ phase: 'awaitingApproval', approvals: [{ actorId: 'grace' }] });
  expect(play(spec, [command('approve', secondApprover, 40, DIGEST)], one.state).state.phase).toBe('watching');
});

test('an approved stage waits while the evidence no longer says advance, and moves when it does again', () => {
  const doubtful = play(aSpec(), [
    ...toApproval,
    evidence('stage:1', 'void', 38),
    command('approve', approver, 40, DIGEST),
  ]);
  expect(doubtful.state).toMatchObject({ phase: 'awaitingApproval', approvals: [{ actorId: 'grace' }] });
  expect(orders(doubtful.effects)).not.toContain('Promote');
  expect(play(aSpec(), [evidence('stage:1', 'advance', 42)], doubtful.state).state.phase).toBe('watching');
});

test('new evidence while waiting does not change what is asked to be approved', () => {
  const { state } = play(aSpec(), [...toApproval, evidence('stage:1', 'advance', 38, 'sha256:newer')]);
  expect(state).toMatchObject({ phase: 'awaitingApproval', evidenceDigest: DIGEST });
});

test.each([
  ['rollback', 'rollingBack'],
  ['hold', 'ramping'],
  ['askHuman', 'paused'],
] as const)('an approval that nobody gives in time: %s leads to %s', (onDeadline, phase) => {
  const { state } = play(aSpec({ onDeadline }), [...toApproval, timer(65), timer(66)]);
  expect(state.phase).toBe(phase);
  expect(canaryWeightPercent(state)).toBe(phase === 'rollingBack' ? 0 : 20);
});

test.each([
  ['rollback', 'rollingBack'],
  ['hold', 'ramping'],
  ['askHuman', 'paused'],
] as const)('a stage deadline without a verdict: %s leads to %s', (onDeadline, phase) => {
  const { state } = play(aSpec({ onDeadline }), [...toFirstStage, evidence('stage:0', 'hold', 72), timer(73)]);
  expect(state.phase).toBe(phase);
});

test('a held stage still advances when the evidence comes at last', () => {
  const held = play(aSpec({ onDeadline: 'hold' }), [...toFirstStage, timer(73)]);
  expect(held.state).toMatchObject({ phase: 'ramping', deadlineAt: null });
  expect(play(aSpec({ onDeadline: 'hold' }), [evidence('stage:0', 'advance', 200)], held.state).state).toMatchObject({
    stage: 1,
  });
});

test('after a person was asked and resumes, the stage has its whole time again', () => {
  const { state } = play(aSpec(), [...toFirstStage, timer(73), command('resume', operator, 100)]);
  expect(state).toMatchObject({ phase: 'ramping', stage: 0, clockStartedAt: 100 * SECOND, deadlineAt: 160 * SECOND });
});

test('a rollout that nothing decides rolls back when its whole time is over, even held', () => {
  const { state } = play(aSpec({ onDeadline: 'hold' }), [...toFirstStage, timer(73), timer(600)]);
  expect(state).toMatchObject({ phase: 'rollingBack', reason: expect.stringContaining('time for the whole rollout') });
});

test('a pause keeps the weight, does not count as time, and good evidence does not move it', () => {
  const paused = play(aSpec(), [...toFirstStage, command('pause', operator, 20), evidence('stage:0', 'advance', 40)]);
  expect(paused.state.phase).toBe('paused');
  expect(canaryWeightPercent(paused.state)).toBe(5);
  const { state } = play(aSpec(), [command('resume', operator, 50)], paused.state);
  expect(state).toMatchObject({
    phase: 'ramping',
    weightPercent: 5,
    clockStartedAt: 43 * SECOND,
    deadlineAt: 103 * SECOND,
    verdict: 'hold',
  });
});

test('a paused rollout still rolls back on harm; a frozen one only when a person says so', () => {
  expect(
    play(aSpec(), [...toFirstStage, command('pause', operator, 20), evidence('stage:0', 'rollback', 21)]).state.phase,
  ).toBe('rollingBack');
  const frozen = play(aSpec(), [...toFirstStage, command('freeze', operator, 20), evidence('stage:0', 'rollback', 21)]);
  expect(frozen.state.phase).toBe('frozen');
  expect(play(aSpec(), [command('abort', operator, 22)], frozen.state).state.phase).toBe('rollingBack');
});

test('a pause before the nodes have acknowledged starts the clock at the pause', () => {
  const { state } = play(aSpec(), [
    ...toShadow,
    evidence('shadow', 'advance', 12),
    command('pause', operator, 13),
    acknowledged(2, 14),
    command('resume', operator, 20),
  ]);
  expect(state).toMatchObject({ phase: 'ramping', clockStartedAt: 20 * SECOND });
});

test('a skip moves on without the evidence but not without the approval', () => {
  const skipped = play(aSpec(), [...toFirstStage, evidence('stage:0', 'hold', 14), command('skip', operator, 15)]);
  expect(skipped.state).toMatchObject({ phase: 'ramping', stage: 1, weightPercent: 20 });
  const asking = play(
    aSpec(),
    [acknowledged(3, 16), evidence('stage:1', 'hold', 17), command('skip', operator, 18)],
    skipped.state,
  );
  expect(asking.state).toMatchObject({ phase: 'awaitingApproval', evidenceWaived: true });
  expect(play(aSpec(), [command('approve', approver, 19, DIGEST)], asking.state).state.phase).toBe('watching');
});

test('a route that cannot be set rolls the version back', () => {
  const failed: RolloutEvent = {
    type: 'EffectFailed',
    effect: 'SetRoute',
    detail: 'the epoch has moved on',
    at: 13 * SECOND,
  };
  expect(play(aSpec(), [...toShadow, evidence('shadow', 'advance', 12), failed]).state).toMatchObject({
    phase: 'rollingBack',
    reason: 'the route could not be set: the epoch has moved on',
  });
});

test('a rollback order that fails is given again and the rollout does not end before it went through', () => {
  const failed: RolloutEvent = {
    type: 'EffectFailed',
    effect: 'SetRoute',
    detail: 'the database is away',
    at: 21 * SECOND,
  };
  const aborted = play(aSpec(), [...toFirstStage, command('abort', operator, 20), failed, acknowledged(9, 22)]);
  expect(aborted.state).toMatchObject({ phase: 'rollingBack', failed: true });
  const again = play(aSpec(), [timer(80)], aborted.state);
  expect(orders(again.effects)).toEqual(['championOnly']);
  expect(play(aSpec(), [timer(140)], again.state).state.phase).toBe('rolledBack');
});

test('a promotion that fails leaves the champion where it is', () => {
  const failed: RolloutEvent = {
    type: 'EffectFailed',
    effect: 'Promote',
    detail: 'the epoch has moved on',
    at: 41 * SECOND,
  };
  const { effects } = play(aSpec(), [...toWatch, failed]);
  expect(orders(effects)).not.toContain('RouteToLastKnownGood');
  expect(orders(effects).at(-1)).toBe('championOnly');
});

// ---- laws over random histories -----------------------------------------------------------------------------------------

const actors = [author, approver, secondApprover, operator, viewer];

/** One step of a random history: how much time passes and what happens then. A mild one has a chance to reach the end. */
function stepOf(
  verdicts: readonly Verdict[],
  commands: readonly CommandType[],
  { failures, maxSeconds }: { failures: number; maxSeconds: number },
) {
  const evidenceStep = fc.record({
    kind: fc.constant('evidence' as const),
    verdict: fc.constantFrom(...verdicts),
    stale: fc.nat(9).map((n) => n === 0),
  });
  const commandStep = fc.record({
    kind: fc.constant('command' as const),
    type: fc.constantFrom(...commands),
    actor: fc.constantFrom(...actors),
    current: fc.nat(4).map((n) => n > 0),
  });
  const failedStep = fc.record({
    kind: fc.constant('failed' as const),
    effect: fc.constantFrom<Effect['type']>(
      'SetRoute',
      'Promote',
      'RouteToLastKnownGood',
      'TransitionStage',
      'RecordDecision',
      'NotifyApprovers',
    ),
  });
  return fc.record({
    seconds: fc.integer({ min: 0, max: maxSeconds }),
    what: fc.oneof(
      { weight: 12, arbitrary: evidenceStep },
      {
        weight: 8,
        arbitrary: fc.record({ kind: fc.constant('acknowledged' as const), older: fc.nat(3).map((n) => n === 0) }),
      },
      { weight: 2, arbitrary: fc.record({ kind: fc.constant('timer' as const) }) },
      { weight: 8, arbitrary: commandStep },
      { weight: failures, arbitrary: failedStep },
    ),
  });
}
const mildStep = stepOf(
  ['advance', 'advance', 'advance', 'hold'],
  ['approve', 'approve', 'approve', 'resume', 'resume', 'skip', 'pause'],
  { failures: 0, maxSeconds: 9 },
);
const wildStep = stepOf(
  ['advance', 'advance', 'advance', 'hold', 'void', 'rollback'],
  [...COMMANDS, 'approve', 'resume', 'skip'],
  { failures: 1, maxSeconds: 45 },
);
const history = fc.oneof(fc.array(mildStep, { minLength: 40, maxLength: 80 }), fc.array(wildStep, { maxLength: 60 }));
type Step = typeof wildStep extends fc.Arbitrary<infer T> ? T : never;

function eventOf({ what }: Step, state: RolloutState, at: number, epoch: number): RolloutEvent {
  switch (what.kind) {
    case 'evidence': {
      const phase = what.stale ? 'stage:0' : (analysisPhaseOf(state) ?? 'watch');
      return evidence(phase, what.verdict, at / SECOND, `sha256:${at}`);
    }
    case 'acknowledged':
      return { type: 'NodesAcknowledged', epoch: what.older ? epoch - 1 : epoch, at };
    case 'timer':
      return { type: 'TimerFired', at };
    case 'command': {
      const digest = state.phase === 'awaitingApproval' && what.current ? state.evidenceDigest : 'sha256:old';
      return command(what.type, what.actor, at / SECOND, digest);
    }
    case 'failed':
      return { type: 'EffectFailed', effect: what.effect, detail: 'in a test', at };
  }
}

const someSpec = fc
  .record({
    onDeadline: fc.constantFrom(...DEADLINE_POLICIES),
    withShadow: fc.boolean(),
    count: fc.integer({ min: 1, max: 2 }),
    approvalAt: fc.constantFrom(1, 2),
    minBakeMs: fc.constantFrom(0, 45_000),
  })
  .map(({ onDeadline, withShadow, count, approvalAt, minBakeMs }) => {
    const base = aSpec();
    const stages = base.policy.stages.map(({ approval: _, ...stage }, index) =>
      index === approvalAt ? { ...stage, approval: { role: 'approver', count, expiresMs: 30_000 } } : stage,
    );
    return aSpec({ onDeadline, minBakeMs, stages, shadow: withShadow ? base.policy.shadow : null });
  });

test('every random history keeps the laws of a rollout, and ends', () => {
  const ends = new Map<string, number>();
  fc.assert(
    fc.property(someSpec, history, (spec, steps) => {
      let at = 0;
      let epoch = 1;
      let state = decide(spec, PLANNED, { type: 'Started', at }).state;
      let promotions = 0;
      for (const each of steps) {
        at += each.seconds * SECOND;
        const event = eventOf(each, state, at, epoch);
        const before = JSON.stringify(state);
        const decision = decide(spec, state, event);
        expect(JSON.stringify(state)).toBe(before);
        checkStep(spec, state, event, decision.state, decision.effects);
        expect(JSON.stringify(decide(spec, state, event))).toBe(JSON.stringify(decision));
        epoch += decision.effects.filter(
          ({ type }) => type === 'SetRoute' || type === 'Promote' || type === 'RouteToLastKnownGood',
        ).length;
        promotions += decision.effects.filter(({ type }) => type === 'Promote').length;
        state = decision.state;
      }
      for (let fired = 0; !isFinal(state); fired++) {
        expect(fired).toBeLessThan(20);
        at = Math.max(at, nextWakeAt(state) ?? at);
        const decision = decide(spec, state, { type: 'TimerFired', at });
        checkStep(spec, state, { type: 'TimerFired', at }, decision.state, decision.effects);
        state = decision.state;
      }
      expect(promotions).toBeLessThanOrEqual(1);
      if (state.phase === 'promoted') expect(promotions).toBe(1);
      ends.set(state.phase, (ends.get(state.phase) ?? 0) + 1);
    }),
    { numRuns: 2_000, seed: 20_260_101 },
  );
  // The histories reach both ends often enough for the laws to mean something.
  expect(ends.get('promoted') ?? 0).toBeGreaterThan(30);
  expect(ends.get('rolledBack') ?? 0).toBeGreaterThan(500);
});

function checkStep(
  spec: RolloutSpec,
  before: RolloutState,
  event: RolloutEvent,
  after: RolloutState,
  effects: readonly Effect[],
): void {
  const [from, to] = [canaryWeightPercent(before), canaryWeightPercent(after)];
  expect(to).toBeGreaterThanOrEqual(0);
  expect(to).toBeLessThanOrEqual(100);
  if (isFinal(before)) expect([after, effects.filter(({ type }) => type !== 'RecordDecision')]).toEqual([before, []]);
  if (to > from) checkRise(spec, before, event, to);
  if (
    event.type === 'abort' &&
    before.phase !== 'rollingBack' &&
    !isFinal(before) &&
    event.actor.roles.includes('operator')
  ) {
    expect(after.phase).toBe('rollingBack');
  }
  if (isFinal(after) && !isFinal(before)) expect(['rollingBack', 'watching']).toContain(before.phase);
  const weights = effects.flatMap((effect) =>
    effect.type === 'SetRoute'
      ? [effect.route.kind === 'canary' ? effect.route.weightPercent : 0]
      : effect.type === 'Promote'
        ? [100]
        : [],
  );
  // The state and the last order to the route say the same weight.
  if (weights.length > 0) expect(weights.at(-1)).toBe(to);
  else if (after.phase !== 'rollingBack' && after.phase !== 'rolledBack') expect(to).toBe(from);
}

/** The weight rises only out of a live stage, on good evidence or a skip, with every approval the next stage asks for. */
function checkRise(spec: RolloutSpec, before: RolloutState, event: RolloutEvent, to: number): void {
  expect(['shadowing', 'ramping', 'awaitingApproval']).toContain(before.phase);
  const rule = spec.policy.stages.find(({ weightPercent }) => weightPercent === to)?.approval;
  if (before.phase === 'awaitingApproval') {
    const people = new Set(before.approvals.map(({ actorId }) => actorId));
    if (event.type === 'approve') people.add(event.actor.id);
    expect(people.size).toBeGreaterThanOrEqual(rule?.count ?? 0);
    expect(people.has(spec.author)).toBe(false);
    if (event.type === 'approve')
      expect(before.verdict === 'advance' || (before.evidenceWaived && before.verdict !== 'void')).toBe(true);
    else expect(event).toMatchObject({ type: 'EvidenceArrived' });
    if (event.type === 'EvidenceArrived')
      expect(['advance', before.evidenceWaived ? 'hold' : 'advance']).toContain(event.analysis.verdict);
    return;
  }
  expect(rule).toBeUndefined();
  if (event.type === 'skip') expect(before).not.toMatchObject({ verdict: 'void' });
  else
    expect(event).toMatchObject({
      type: 'EvidenceArrived',
      analysis: { verdict: 'advance', phase: analysisPhaseOf(before) },
    });
}

test('every phase with traffic to take back takes an abort', () => {
  for (const phase of [
    'planned',
    'shadowing',
    'ramping',
    'awaitingApproval',
    'paused',
    'frozen',
    'watching',
  ] as const) {
    expect(COMMANDS_BY_PHASE[phase]).toContain('abort');
  }
});
