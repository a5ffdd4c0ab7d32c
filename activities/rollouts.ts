import { activityInfo, cancellationSignal, heartbeat, sleep } from '@temporalio/activity';
import { findLaggingNodes } from '../db/acknowledgements.ts';
import { appendDecision, findDecision, type NewDecision } from '../db/decisions.ts';
import { databaseNow, readLosses, readTallies } from '../db/evidence.ts';
import { getProjectVersion } from '../db/projects.ts';
import { getModel, getVersion, moveStage } from '../db/registry.ts';
import { readRolloutSpec } from '../db/rollout-spec.ts';
import {
  findActiveRollout,
  findLook,
  getRollout,
  openRollout,
  putLook,
  putRolloutState,
  type RolloutLook,
} from '../db/rollouts.ts';
import { getRoute, moveRoute, type Route, routeToLastKnownGood, type RouteTarget } from '../db/routes.ts';
import { SerinError } from '../domain/errors.ts';
import { nextStage, type Stage, type StageCause } from '../domain/registry/stages.ts';
import { analyse, type AnalysisState, INITIAL_ANALYSIS } from '../domain/rollout/analyse.ts';
import {
  type Analysis,
  type AnalysisPhase,
  type EvidenceBlock,
  NO_SHADOW,
  NO_TALLY,
} from '../domain/rollout/evidence.ts';
import {
  PLANNED,
  type RolloutSpec,
  type RolloutState,
  type RouteTarget as RolloutTarget,
} from '../domain/rollout/state.ts';
import type { EpochWeight, RollbackModelInput, RollbackModelResult } from '../workflows/messages.ts';
import { type Dependencies, sha256 } from './dependencies.ts';

/** Rows of a transaction that began before this long ago are in: what a look reads is complete up to then. */
const SETTLE_MICROS = 1_500_000;

const ACKNOWLEDGEMENT_POLL_MS = 50;

/** A route is moved by one rollout at a time; losing the race to set it more often than this is no accident. */
const ROUTE_ATTEMPTS = 5;

/** What a look leaves behind: everything needed to make it again, and the state that the next one starts from. */
interface LookRecord {
  readonly upTo: number;
  readonly blocks: readonly EvidenceBlock[];
  readonly analysis: Analysis;
  readonly analysisState: AnalysisState;
}

export function createRolloutActivities({ db, logger, now }: Dependencies) {
  return {
    /** The rollout of a version as it would start now: its policy is the one its project declares today. */
    async planRollout({ model, version }: { model: string; version: number }): Promise<RolloutSpec> {
      return readRolloutSpec(db, { model, version });
    },

    /** Idempotent by the rollout's id; refused while the model has another one under way. */
    async openRollout({ spec }: { spec: RolloutSpec }): Promise<void> {
      const { stage } = await getVersion(db, spec.model, spec.version);
      if (stage !== 'staging') {
        throw new SerinError(
          'STAGE_TRANSITION_REFUSED',
          `${spec.model} v${spec.version} is in ${stage}; only a version in staging can be rolled out: train it anew`,
        );
      }
      await openRollout(db, {
        rolloutId: spec.rolloutId,
        model: spec.model,
        version: spec.version,
        author: spec.author,
        state: PLANNED,
        policy: spec.policy,
        startedAt: now(),
      });
    },

    /** Sets what readers see; the workflow's own state is the truth. */
    async saveRollout({
      rolloutId,
      state,
      endedAt,
    }: {
      rolloutId: string;
      state: RolloutState;
      endedAt: number | null;
    }): Promise<void> {
      await putRolloutState(db, rolloutId, state, endedAt);
    },

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
        const { live, lagging } = await findLaggingNodes(db, { model, epoch, at: now() });
        if (live > 0 && lagging.length === 0) return;
        heartbeat({ live, lagging });
        if (polls === 200) logger.warn({ model, epoch, live, lagging }, 'nodes have not acknowledged the route');
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

    /** Appended once per key. */
    async recordDecision(decision: NewDecision): Promise<void> {
      await db.transaction().execute((tx) => appendDecision(tx, decision));
    },

    /** The request stands in the API and in the CLI's `rollout status`; here it is said in the log, where alerting picks it up. */
    async notifyApprovers(notice: {
      rolloutId: string;
      model: string;
      version: number;
      role: string | null;
      sentence: string;
      evidenceDigest: string | null;
    }): Promise<void> {
      logger.info(notice, 'a person is asked to decide');
    },

    /**
     * Makes look number `look`: folds what came in since the look before into the running analysis. The look is stored whole
     * and first writing wins, so a retry gives the answer that was given.
     */
    async collectEvidence(input: {
      rolloutId: string;
      look: number;
      phase: AnalysisPhase;
      epochs: readonly EpochWeight[];
    }): Promise<{ analysis: Analysis; evidenceDigest: string }> {
      const made = await findLook(db, input.rolloutId, input.look);
      if (made !== undefined) return answerOf(made);
      const rollout = await getRollout(db, input.rolloutId);
      const previous = input.look > 1 ? await findLook(db, input.rolloutId, input.look - 1) : undefined;
      const before = previous?.evidence as LookRecord | undefined;
      const from = before?.upTo ?? rollout.startedAt;
      const upTo = Math.max(from, (await databaseNow(db)) - SETTLE_MICROS);
      const { project, projectDigest } = await getModel(db, rollout.model);
      const { spec } = await getProjectVersion(db, project, projectDigest);
      const sampleRate = spec.models.find(({ name }) => name === rollout.model)?.logSampleRate ?? 1;
      const blocks = await readBlocks({ model: rollout.model, from, upTo, epochs: input.epochs, sampleRate });

      let analysisState = before?.analysisState ?? INITIAL_ANALYSIS;
      let analysis: Analysis | undefined;
      for (const block of blocks) {
        const step = analyse(rollout.policy, analysisState, block, input.phase);
        analysisState = step.state;
        analysis = step.analysis;
      }
      const record: LookRecord = { upTo, blocks, analysis: analysis!, analysisState };
      return answerOf(
        await putLook(db, {
          rolloutId: input.rolloutId,
          look: input.look,
          lookedAt: now(),
          phase: input.phase,
          verdict: record.analysis.verdict,
          evidenceSha256: sha256({ upTo, blocks, analysis: record.analysis }),
          evidence: record,
        }),
      );
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

  /** One block per routing epoch of the rollout; a look without news is one empty block, so that it still gives a verdict. */
  async function readBlocks({
    model,
    from,
    upTo,
    epochs,
    sampleRate,
  }: {
    model: string;
    from: number;
    upTo: number;
    epochs: readonly EpochWeight[];
    sampleRate: number;
  }): Promise<EvidenceBlock[]> {
    const fromEpoch = epochs[0]?.epoch ?? Number.MAX_SAFE_INTEGER;
    const range = { model, after: from, upTo, fromEpoch };
    const [tallies, losses] = await Promise.all([readTallies(db, range), readLosses(db, range)]);
    const weights = new Map(epochs.map(({ epoch, weightPercent }) => [epoch, weightPercent / 100]));
    const blocks = epochs.flatMap(({ epoch }): EvidenceBlock[] => {
      const tally = tallies.find((each) => each.epoch === epoch);
      const labelled = losses.filter((each) => each.epoch === epoch);
      if (tally === undefined && labelled.length === 0) return [];
      const weight = weights.get(epoch) ?? 0;
      const withLosses = (arm: 'champion' | 'canary') => {
        const loss = labelled.find((each) => each.arm === arm);
        const { labelled: count = 0, lossSum = 0, lossSumSq = 0 } = loss ?? {};
        return { ...(tally?.[arm] ?? NO_TALLY), labelled: count, lossSum, lossSumSq };
      };
      return [
        {
          fromAt: from,
          toAt: upTo,
          weight,
          // every canary answer is logged, the champion's are a sample: this is the canary's share of the labelled ones
          labelWeight: weight === 0 ? 0 : weight / (weight + (1 - weight) * sampleRate),
          champion: withLosses('champion'),
          canary: withLosses('canary'),
          shadow: tally?.shadow ?? NO_SHADOW,
          unitsChampion: tally?.unitsChampion ?? 0,
          unitsCanary: tally?.unitsCanary ?? 0,
        },
      ];
    });
    if (blocks.length > 0) return blocks;
    const weight = (epochs.at(-1)?.weightPercent ?? 0) / 100;
    return [
      {
        fromAt: from,
        toAt: upTo,
        weight,
        champion: NO_TALLY,
        canary: NO_TALLY,
        shadow: NO_SHADOW,
        unitsChampion: 0,
        unitsCanary: 0,
      },
    ];
  }
}

function answerOf(look: RolloutLook): { analysis: Analysis; evidenceDigest: string } {
  return { analysis: (look.evidence as LookRecord).analysis, evidenceDigest: look.evidenceSha256 };
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
