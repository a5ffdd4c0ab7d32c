import type { Activities } from '../../../activities/activities.ts';
import { type Counts, FORGET_PLACES } from '../../../domain/features/forget-report.ts';
import type { Verdict } from '../../../domain/rollout/evidence.ts';
import { aPolicy, author, evidence } from '../../../domain/rollout/rollout-fixtures.ts';
import type { RolloutPolicy } from '../../../domain/rollout/policy.ts';
import type { RolloutSpec } from '../../../domain/rollout/state.ts';

const NOTHING = Object.fromEntries(FORGET_PLACES.map((place) => [place, 0])) as Record<keyof Counts, number>;

export interface Call {
  readonly name: keyof Activities;
  readonly input: unknown;
}

export interface FakeActivities {
  readonly activities: Activities;
  /** In the order in which they began, retries included. */
  readonly calls: readonly Call[];
  /** The inputs of every call of one activity. */
  of<Name extends keyof Activities>(name: Name): Parameters<Activities[Name]>[0][];
}

/** A world in which everything works at once: nodes acknowledge, evidence is good, gates pass. A test overrides what it is about. */
export function fakeActivities(overrides: Partial<Activities> = {}, onCall?: (call: Call) => void): FakeActivities {
  let epoch = 1;
  const moved = () => Promise.resolve({ epoch: (epoch += 1) });
  const done = () => Promise.resolve();
  const world: Activities = {
    ingestBatch: () =>
      Promise.resolve({ rowsIn: 3, rowsAccepted: 2, quarantined: { KEY_NULL: 1 }, lastSeq: 2, alreadyThere: false }),
    getConsistencyPlan: () => Promise.resolve({ sources: [{ source: 'flights', lastSeq: 2 }] }),
    checkConsistency: () =>
      Promise.resolve({
        windowEnd: 1,
        checkable: 2,
        checked: 2,
        mismatches: 0,
        sentence: 'the features are those of the log',
      }),
    openScoreBatch: () => Promise.resolve({ version: 1, sources: [{ source: 'flights', lastSeq: 2 }], done: null }),
    planScoreBatch: () => Promise.resolve({ plan: 'sha256-of-the-plan', parts: 3, rows: 9, together: 2 }),
    scorePart: ({ part }) =>
      Promise.resolve({ sha256: `sha256-of-part-${part}`, bytes: 100, rows: 3, unscored: 0, positives: 1 }),
    commitScoreBatch: ({ parts }) =>
      Promise.resolve({
        output: '/scores',
        version: 1,
        rows: parts.length * 3,
        unscored: 0,
        positives: parts.length,
        files: parts.length,
        alreadyThere: false,
      }),
    discardScoreBatch: done,
    askInference: () => Promise.resolve({ status: 'answered' }),
    giveUpInference: done,
    deliverPrediction: done,
    forgetPrediction: done,
    listModelsToExport: () => Promise.resolve(['flight-delay']),
    exportModelPredictions: ({ model }) => Promise.resolve({ model, rows: 5, files: 1, exportedTo: 9 }),
    dropExportedPredictions: () => Promise.resolve({ rows: 5, droppedTo: 9 }),
    findExportedPredictions: () => Promise.resolve([]),
    compactLog: () => Promise.resolve({ filesMerged: 9, rows: 90, files: 1 }),
    listViews: () => Promise.resolve([]),
    getLastSequence: () => Promise.resolve({ lastSeq: 0 }),
    listStaleViews: () => Promise.resolve({ project: 'flights', views: [] }),
    openShadow: ({ view, label }) => Promise.resolve({ shadowId: `${view}~${label}` }),
    fillShadow: ({ upToSeq }) => Promise.resolve({ keys: 1, events: upToSeq, generation: 0 }),
    checkShadow: ({ keys }) => Promise.resolve({ checked: keys, verdict: 'good' }),
    swapShadow: () => Promise.resolve({ verdict: 'good' }),
    dropShadow: done,
    buildDataset: () =>
      Promise.resolve({ digest: 'sha256-of-the-dataset', rows: 10, trainRows: 7, testRows: 3, leakageFindings: 0 }),
    diffDatasets: ({ before, after }) =>
      Promise.resolve({
        before: { digest: before, rows: 1, knowledgeCut: { at: 0, seq: {} } },
        after: { digest: after, rows: 1, knowledgeCut: { at: 0, seq: {} } },
        common: 1,
        added: { rows: 0, samples: [] },
        removed: { rows: 0, samples: [] },
        columns: [],
      }),
    rebuildDataset: ({ dataset }) => Promise.resolve({ dataset, rebuilt: dataset, same: true }),
    explainRow: ({ dataset, row }) =>
      Promise.resolve({
        dataset,
        row,
        asOf: 0,
        split: 'TRAIN',
        request: {},
        label: { name: 'late', value: 1, status: 'VALUE', events: [] },
        features: [],
      }),
    blockEntity: done,
    forgetBuffered: done,
    forgetLogged: done,
    forgetOnline: done,
    listForgetRebuilds: () => Promise.resolve({ project: 'flights', views: [{ view: 'origin_delays@1', foldAt: 1 }] }),
    forgetPredictions: done,
    forgetDatasets: done,
    scanForgotten: () => Promise.resolve({ left: NOTHING }),
    finishForgetting: ({ left }) =>
      Promise.resolve({
        places: FORGET_PLACES.map((place) => ({ place, removed: 1, left: left[place] })),
        blobsRemoved: 1,
        blobsKept: 0,
        scannedAt: 1,
      }),
    openRun: ({ model, training, key }) =>
      Promise.resolve({
        runId: `${model}-${training}-${key}`,
        project: 'flights',
        projectDigest: 'sha256-of-the-project',
      }),
    failRun: done,
    train: done,
    evaluate: done,
    decideGates: () => Promise.resolve({ verdict: 'pass', sentences: [] }),
    registerVersion: () => Promise.resolve({ version: 2 }),
    planRollout: ({ model, version }) => Promise.resolve(aQuickRollout({ model, version })),
    openRollout: done,
    saveRollout: done,
    setRoute: moved,
    promote: async () => ({ ...(await moved()), replaced: 1 }),
    routeToLastKnownGood: moved,
    rollBackChampion: async () => ({ ...(await moved()), champion: 1, replaced: 2 }),
    awaitAcknowledgement: done,
    transitionStage: done,
    recordDecision: done,
    notifyApprovers: done,
    collectEvidence: showing('advance'),
    getMonitorPlan: () => Promise.resolve({ everyMs: 60_000 }),
    runMonitors: ({ after }) => Promise.resolve({ windowEnd: (after ?? 0) + 1, findings: [] }),
    ...overrides,
  };
  const calls: Call[] = [];
  return {
    activities: eachOf(world, (name, act) => (input) => {
      calls.push({ name, input });
      onCall?.({ name, input });
      return act(input);
    }),
    calls,
    of: <Name extends keyof Activities>(name: Name) =>
      calls.filter((call) => call.name === name).map(({ input }) => input as Parameters<Activities[Name]>[0]),
  };
}

/** Activities whose world is exchanged under a running worker: one worker serves the tests of a file, one after the other. */
export function exchangeableActivities(): {
  readonly activities: Activities;
  exchange(next: FakeActivities): FakeActivities;
} {
  let current = fakeActivities();
  return {
    activities: eachOf(current.activities, (name) => (input) => (current.activities[name] as Act)(input)),
    exchange: (next) => (current = next),
  };
}

type Act = (input: unknown) => Promise<unknown>;

function eachOf(activities: Activities, make: (name: keyof Activities, act: Act) => Act): Activities {
  const entries = Object.entries(activities).map(([name, act]) => [name, make(name as keyof Activities, act as Act)]);
  return Object.fromEntries(entries) as Activities;
}

/** Evidence that says one verdict, or the one that a function of the look finds. The look names the evidence. */
export function showing(
  verdict: Verdict | ((look: Parameters<Activities['collectEvidence']>[0]) => Verdict),
): Activities['collectEvidence'] {
  return (input) => {
    const { analysis } = evidence(input.phase, typeof verdict === 'string' ? verdict : verdict(input), 0);
    return Promise.resolve({ analysis, evidenceDigest: `sha256:look-${input.look}` });
  };
}

let rollouts = 0;

/** Shadow, 5 %, 20 %, the approval, a short watch; each stage is over as soon as the evidence says so. */
export function aQuickRollout({
  model = `late-arrival-${(rollouts += 1)}`,
  version = 2,
  ...policy
}: Partial<RolloutPolicy> & { model?: string; version?: number } = {}): RolloutSpec {
  const { shadow, stages } = aPolicy();
  // deadlines that no test lives to see, however slow the machine
  const far = 3_600_000;
  const atOnce = { minDurationMs: 0, maxDurationMs: far };
  return {
    rolloutId: `rollout/${model}/${version}`,
    model,
    version,
    author: author.id,
    policy: aPolicy({
      shadow: { ...shadow!, ...atOnce },
      stages: stages.map(({ approval, ...stage }) => ({
        ...stage,
        ...atOnce,
        ...(approval && { approval: { ...approval, expiresMs: far } }),
      })),
      maxRolloutMs: far,
      watch: { durationMs: 100 },
      lookEveryMs: 20,
      onDeadline: 'rollback',
      ...policy,
    }),
  };
}
