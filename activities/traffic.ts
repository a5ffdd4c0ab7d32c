import { activityInfo, cancellationSignal, heartbeat, sleep } from '@temporalio/activity';
import { appendDecision, findDecision } from '../db/decisions.ts';
import { getRouteReach } from '../db/nodes.ts';
import { getVersion, moveStage } from '../db/registry.ts';
import { findActiveRollout, putRolloutState } from '../db/rollouts.ts';
import { getRoute, moveRoute, type Route, routeToLastKnownGood, type RouteTarget } from '../db/routes.ts';
import { SerinError } from '../domain/errors.ts';
import { nextStage, type Stage, type StageCause } from '../domain/registry/stages.ts';
import type { RouteTarget as RolloutTarget } from '../domain/rollout/state.ts';
import type { RollbackModelInput, RollbackModelResult } from '../workflows/messages.ts';
import type { Dependencies } from './dependencies.ts';

const ACKNOWLEDGEMENT_POLL_MS = 50;
/** Polls after which somebody should look why nodes do not follow: about a minute and a half. */
const POLLS_BEFORE_WARNING = 200;

/** A route is moved by one rollout at a time; losing the race to set it more often than this is no accident. */
const ROUTE_ATTEMPTS = 5;

/** What moves traffic, and the registry's stages that follow it. */
export function createTrafficActivities({ db, logger, now }: Dependencies) {
  return {
    /** A compare-and-set on the epoch that was read; finding the target already in force is a retry's success. */
    async setRoute(input: {
      rolloutId: string;
      model: string;
      version: number;
      target: RolloutTarget;
    }): Promise<{ epoch: number }> {
      const reason =
        input.target.kind === 'canary' ? `${input.target.weightPercent} % to v${input.version}` : input.target.kind;
      return changeRoute(input.model, reason, (route) => targetOf(route, input));
    },

    /** Champion and last known good change places in one compare-and-set. */
    async promote({
      rolloutId,
      model,
      version,
    }: {
      rolloutId: string;
      model: string;
      version: number;
    }): Promise<{ epoch: number; replaced: number }> {
      const { epoch } = await changeRoute(model, `v${version} promoted`, (route) => {
        if (route.champion === version) return null;
        refuseForeignRoute(route, rolloutId);
        return {
          ...route,
          champion: version,
          lastKnownGood: route.champion,
          canary: null,
          canaryWeight: 0,
          shadow: null,
          rolloutId,
        };
      });
      return { epoch, replaced: (await getRoute(db, model)).lastKnownGood };
    },

    /** One statement, fenced by the version it takes down; a second run finds nothing to do. */
    async routeToLastKnownGood(input: { model: string; version: number; reason: string }): Promise<{ epoch: number }> {
      const { epoch } = await routeToLastKnownGood(db, { ...input, at: now() });
      return { epoch };
    },

    /**
     * Takes a model back to its last known good version, with the registry's stages and the record, in one transaction: the
     * champion, or the version of a rollout whose workflow is gone. A retry finds the record and gives the answer it was given.
     */
    async rollBackChampion({
      model,
      actor,
      reason,
      abandonedRollout,
    }: RollbackModelInput): Promise<RollbackModelResult> {
      const idempotencyKey = `rollback/${model}/${activityInfo().workflowExecution?.runId ?? 'unknown'}`;
      return db.transaction().execute(async (tx) => {
        const done = await findDecision(tx, idempotencyKey);
        if (done !== undefined) return done.payload as RollbackModelResult;
        const active = await findActiveRollout(tx, model);
        if (active !== undefined && active.rolloutId !== abandonedRollout) {
          throw new SerinError(
            'ROLLOUT_ACTIVE',
            `${model} is rolling out v${active.version} (${active.rolloutId}); roll that back by its own command`,
          );
        }
        const route = await getRoute(tx, model);
        const replaced = active?.version ?? route.champion;
        const champion = route.champion === replaced ? route.lastKnownGood : route.champion;
        if (champion === replaced) {
          throw new SerinError(
            'COMMAND_REFUSED',
            `${model} answers with v${route.champion}, which is its last known good version already`,
          );
        }
        const { epoch } =
          route.champion === replaced
            ? await routeToLastKnownGood(tx, { model, version: replaced, at: now(), reason })
            : await moveRoute(tx, {
                model,
                expectedEpoch: route.epoch,
                target: { ...route, canary: null, canaryWeight: 0, shadow: null },
                at: now(),
                reason,
              });
        for (const [version, to, cause] of [
          [replaced, 'archived', 'rolledBack'],
          [champion, 'production', 'restored'],
        ] as const) {
          const standing = await getVersion(tx, model, version);
          if (standing.stage === to) continue;
          nextStage(standing.stage, to, { subject: `${model} v${version}`, cause });
          await moveStage(tx, { model, version, from: standing.stage, to, expectedEpoch: standing.stageEpoch, reason });
        }
        if (active !== undefined)
          await putRolloutState(tx, active.rolloutId, { phase: 'rolledBack', reason, endedAt: now() }, now());
        const result = { replaced, champion, epoch };
        await appendDecision(tx, {
          subject: `model/${model}`,
          kind: 'rolledBack',
          actor,
          reason,
          evidenceSha256: null,
          payload: result,
          idempotencyKey,
          decidedAt: now(),
        });
        return result;
      });
    },

    /** Waits until every live node routes by `epoch`. With no live node there is nothing to wait for but one to come. */
    async awaitAcknowledgement({ model, epoch }: { model: string; epoch: number }): Promise<void> {
      for (let polls = 0; ; polls += 1) {
        cancellationSignal().throwIfAborted();
        const { live, behind } = await getRouteReach(db, model, epoch);
        if (live.length > 0 && behind.length === 0) return;
        heartbeat({ live, behind });
        if (polls === POLLS_BEFORE_WARNING)
          logger.warn({ model, epoch, live, behind }, 'nodes have not acknowledged the route');
        await sleep(Math.min(ACKNOWLEDGEMENT_POLL_MS * (1 + polls / 20), 1_000));
      }
    },

    /** A compare-and-set on (stage, epoch); finding the version there already is a retry's success. */
    async transitionStage(input: {
      rolloutId: string;
      model: string;
      version: number;
      subject: 'version' | 'replaced';
      to: Exclude<Stage, 'staging'>;
      reason: string;
    }): Promise<void> {
      const { stage, stageEpoch } = await getVersion(db, input.model, input.version);
      if (stage === input.to) return;
      nextStage(stage, input.to, { subject: `${input.model} v${input.version}`, cause: causeOf(input) });
      await moveStage(db, {
        model: input.model,
        version: input.version,
        from: stage,
        to: input.to,
        expectedEpoch: stageEpoch,
        reason: input.reason,
      });
    },
  };

  /** Reads, decides and sets; another who moved the route in between (not its owner: that is refused) makes it read again. */
  async function changeRoute(
    model: string,
    reason: string,
    decideTarget: (route: Route) => RouteTarget | null,
  ): Promise<{ epoch: number }> {
    for (let attempt = 1; ; attempt += 1) {
      const route = await getRoute(db, model);
      const target = decideTarget(route);
      if (target === null) return { epoch: route.epoch };
      try {
        return await moveRoute(db, { model, expectedEpoch: route.epoch, target, at: now(), reason });
      } catch (error) {
        const lost = error instanceof SerinError && error.code === 'ROUTE_EPOCH_CONFLICT';
        if (!lost || attempt === ROUTE_ATTEMPTS) throw error;
      }
    }
  }
}

/** The route that an order of the rollout stands for; null when it is in force, or no longer this rollout's to undo. */
function targetOf(
  route: Route,
  { rolloutId, version, target }: { rolloutId: string; version: number; target: RolloutTarget },
): RouteTarget | null {
  const standing = { champion: route.champion, lastKnownGood: route.lastKnownGood, rolloutId, salt: rolloutId };
  switch (target.kind) {
    case 'championOnly':
      if (route.rolloutId !== rolloutId || (route.canary === null && route.shadow === null)) return null;
      return { ...standing, canary: null, canaryWeight: 0, shadow: null };
    case 'shadow':
      refuseForeignRoute(route, rolloutId);
      if (route.shadow === version && route.canary === null) return null;
      return { ...standing, canary: null, canaryWeight: 0, shadow: version };
    case 'canary': {
      refuseForeignRoute(route, rolloutId);
      const canaryWeight = Math.round(target.weightPercent * 100);
      if (route.canary === version && route.canaryWeight === canaryWeight) return null;
      return { ...standing, canary: version, canaryWeight, shadow: null };
    }
  }
}

/** Another rollout that still has traffic owns the route; one that has none left behind only its name. */
function refuseForeignRoute(route: Route, rolloutId: string): void {
  const busy = route.canary !== null || route.shadow !== null;
  if (busy && route.rolloutId !== rolloutId) {
    throw new SerinError(
      'ROUTE_EPOCH_CONFLICT',
      `the route of "${route.model}" belongs to ${route.rolloutId ?? 'nobody'} (epoch ${route.epoch}, ${route.reason}), not to ${rolloutId}`,
    );
  }
}

function causeOf({ subject, to }: { subject: 'version' | 'replaced'; to: Exclude<Stage, 'staging'> }): StageCause {
  if (subject === 'replaced') return 'replaced';
  switch (to) {
    case 'candidate':
      return 'shadowPassed';
    case 'production':
      return 'canaryPassed';
    case 'archived':
      return 'rolledBack';
  }
}
