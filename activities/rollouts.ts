import { appendDecision, type NewDecision } from '../db/decisions.ts';
import { databaseNow, readLosses, readTallies } from '../db/evidence.ts';
import { getProjectVersion } from '../db/projects.ts';
import { getModel, getVersion } from '../db/registry.ts';
import { readRolloutSpec } from '../db/rollout-spec.ts';
import { findLook, getRollout, openRollout, putLook, putRolloutState, type RolloutLook } from '../db/rollouts.ts';
import { SerinError } from '../domain/errors.ts';
import { analyse, type AnalysisState, INITIAL_ANALYSIS } from '../domain/rollout/analyse.ts';
import {
  type Analysis,
  type AnalysisPhase,
  type EvidenceBlock,
  NO_SHADOW,
  NO_TALLY,
} from '../domain/rollout/evidence.ts';
import { PLANNED, type RolloutSpec, type RolloutState } from '../domain/rollout/state.ts';
import type { EpochWeight } from '../workflows/messages.ts';
import { type Dependencies, sha256 } from './dependencies.ts';

/** Rows of a transaction that began before this long ago are in: what a look reads is complete up to then. */
const SETTLE_MICROS = 1_500_000;

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
