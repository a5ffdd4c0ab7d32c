import { ApplicationFailure } from '@temporalio/common';
import { type WorkflowHandleWithFirstExecutionRunId, WorkflowUpdateFailedError } from '@temporalio/client';
import { afterAll, afterEach, beforeAll, expect } from 'vitest';
import { approver, operator } from '../../../domain/rollout/rollout-fixtures.ts';
import type { RampStage } from '../../../domain/rollout/policy.ts';
import type { Actor, CommandType, RolloutPhase, RolloutSpec } from '../../../domain/rollout/state.ts';
import {
  type CommandResult,
  commandUpdates,
  type RolloutView,
  rolloutQuery,
  TASK_QUEUE_CONTROL,
} from '../../../workflows/messages.ts';
import type { rolloutModel } from '../../../workflows/rollout-model.ts';
import { eventually, within } from '../../setup/eventually.ts';
import { aQuickRollout, exchangeableActivities, type FakeActivities, fakeActivities } from './fake-activities.ts';
import { type RunningWorkers, startTemporalFixture, type TemporalFixture } from './temporal-fixture.ts';

type Rollout = WorkflowHandleWithFirstExecutionRunId<typeof rolloutModel>;

let temporal: TemporalFixture;
let workers: RunningWorkers;
const world = exchangeableActivities();

/** One server and one set of workers for the tests of the file that calls it. */
export function hostRollouts(): void {
  beforeAll(async () => {
    temporal = await startTemporalFixture();
    workers = await temporal.startWorkers(world.activities);
  });
  afterEach(() => temporal.endWorkflows());
  afterAll(() => temporal.stop());
}

export async function replaceWorkers(): Promise<void> {
  await workers.stop();
  workers = await temporal.startWorkers(world.activities);
}

export async function start(
  spec: RolloutSpec,
  overrides: Parameters<typeof fakeActivities>[0] = {},
): Promise<{ rollout: Rollout; fake: FakeActivities }> {
  const fake = world.exchange(fakeActivities(overrides));
  const rollout = await temporal.client.workflow.start<typeof rolloutModel>('rolloutModel', {
    workflowId: spec.rolloutId,
    taskQueue: TASK_QUEUE_CONTROL,
    args: [{ spec }],
  });
  return { rollout, fake };
}

export const ended = (rollout: Rollout) => within('the rollout ends', rollout.result());
export const view = (rollout: Rollout): Promise<RolloutView> =>
  within('the query is answered', rollout.query(rolloutQuery));

export async function reaches(rollout: Rollout, phase: RolloutPhase): Promise<RolloutView> {
  return eventually(`the rollout is ${phase}`, async () => {
    const seen = await view(rollout);
    return seen.state.phase === phase && seen;
  });
}

let commands = 0;

interface Order {
  readonly by?: Actor;
  readonly evidenceDigest?: string;
  readonly commandId?: string;
}

export const order = (
  type: CommandType,
  { by = operator, evidenceDigest, commandId = `command-${(commands += 1)}` }: Order = {},
) => ({
  commandId,
  command: { type, actor: by, reason: `${type} in a test`, ...(evidenceDigest !== undefined && { evidenceDigest }) },
});

export function command(rollout: Rollout, type: CommandType, options: Order = {}): Promise<CommandResult> {
  return within(`"${type}" is answered`, rollout.executeUpdate(commandUpdates[type], { args: [order(type, options)] }));
}

/** The code of the problem with which a command is refused. */
export async function refusal(
  rollout: Rollout,
  type: CommandType,
  options: Order = {},
): Promise<string | null | undefined> {
  const error: unknown = await command(rollout, type, options).then(
    () => expect.fail(`"${type}" was obeyed`),
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(WorkflowUpdateFailedError);
  const { cause } = error as WorkflowUpdateFailedError;
  expect(cause).toBeInstanceOf(ApplicationFailure);
  return (cause as ApplicationFailure).type;
}

export async function approveWhenAsked(rollout: Rollout): Promise<CommandResult> {
  const { state } = await reaches(rollout, 'awaitingApproval');
  if (state.phase !== 'awaitingApproval') throw new Error(`it is ${state.phase}`);
  return command(rollout, 'approve', { by: approver, evidenceDigest: state.evidenceDigest });
}

/** What was done, one short text per effect, in order. Looks, saves and waits for nodes are not effects. */
export function effects({ calls }: FakeActivities): string[] {
  return calls.flatMap(({ name, input }): string[] => {
    const given = input as Record<string, unknown>;
    switch (name) {
      case 'setRoute': {
        const target = given['target'] as { kind: string; weightPercent?: number };
        return [target.kind === 'canary' ? `${target.weightPercent} %` : target.kind];
      }
      case 'promote':
      case 'routeToLastKnownGood':
        return [name];
      case 'transitionStage':
        return [`v${String(given['version'])} → ${String(given['to'])}`];
      case 'recordDecision':
        return [`record ${String(given['kind'])}`];
      case 'notifyApprovers':
        return ['ask'];
      default:
        return [];
    }
  });
}

export const [CANARY, , FULL] = aQuickRollout().policy.stages as [RampStage, RampStage, RampStage];
/** For what does not depend on the number of stages: 5 %, then the promotion. */
export const SHORT = { shadow: null, stages: [CANARY] };
