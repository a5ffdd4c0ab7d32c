import { expect, test } from 'vitest';
import { decide } from './decide.ts';
import { describe, stageLabel } from './describe.ts';
import { aSpec, DIGEST, evidence, SECOND } from './rollout-fixtures.ts';
import { PLANNED } from './state.ts';
import type { RolloutEvent } from './state.ts';

const at = (seconds: number) => 990_000_000 * SECOND + seconds * SECOND;
const on = (event: RolloutEvent): RolloutEvent => ({ ...event, at: 990_000_000 * SECOND + event.at });
const acknowledged = (epoch: number, seconds: number): RolloutEvent => ({
  type: 'NodesAcknowledged',
  epoch,
  at: seconds * SECOND,
});
const history: readonly RolloutEvent[] = [
  { type: 'Started', at: 0 },
  acknowledged(1, 1),
  evidence('shadow', 'advance', 12),
  acknowledged(2, 13),
  evidence('stage:0', 'advance', 24),
  acknowledged(3, 25),
  evidence('stage:1', 'advance', 36),
];

test('a rollout that waits for approval says for what, from whom, until when and on which evidence', () => {
  const spec = aSpec();
  const state = history.reduce(
    (before, event) => decide(spec, before, on(event)).state,
    decide(spec, PLANNED, { type: 'TimerFired', at: at(0) }).state,
  );
  expect(describe(spec, state, evidence('stage:1', 'advance', 36).analysis.findings)).toBe(
    [
      `**late-arrival v2**: waits for approval of stage 3 (100 %): 0 of 1 of role approver, until 2001-05-16 08:01:06 UTC, evidence \`${DIGEST}\``,
      '',
      'shadow → 5 % → **20 %** → 100 % → watch',
      '',
      '- advance: errors say advance',
    ].join('\n'),
  );
  expect(stageLabel(state)).toBe('approval at 20 %');
});

test('a planned rollout has a description, too', () => {
  expect(describe(aSpec(), PLANNED)).toContain('planned, no traffic yet');
});
