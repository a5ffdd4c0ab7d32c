/** Versions, routes and a store for tests: two request numbers and one stored number per key, scored by a plain function. */
import type { Route } from '../../db/routes.ts';
import { SerinError } from '../../domain/errors.ts';
import { NO_PERSONAL_DATA } from '../../domain/project/personal-data.ts';
import { FEATURE_STATUSES } from '../../features/kernel/view-state.ts';
import { CostModel } from '../admission/cost-model.ts';
import { NORMAL } from '../admission/priority.ts';
import type { Scorer } from '../model/scorer.ts';
import type { ServedVersion } from '../model/served-version.ts';
import { buildEntry, type RouteEntry } from '../routing/route-entry.ts';
import type { Accounting, Answer, Instance, ShadowScore } from './answer.ts';
import { Circuit, type CircuitPolicy, Circuits } from './circuit.ts';
import { createFeatureBatchReader, type FeatureInput, type OnlineReader } from './feature-batch.ts';
import { VersionScorer } from './score-version.ts';

const [PRESENT, NULL, NOT_FOUND] = (['present', 'null', 'not_found'] as const).map((status) =>
  FEATURE_STATUSES.indexOf(status),
) as [number, number, number];

/** Columns `x`, `y` (request) and `stored` (by the text `key`). */
export const anInput: FeatureInput = {
  columns: ['x', 'y', 'stored'],
  request: [
    { name: 'x', type: 'f64', description: '' },
    { name: 'y', type: 'f64', description: '' },
    { name: 'key', type: 'str', description: '' },
  ],
  checkRequest(fields) {
    const { x = null, y = null, key = null } = fields as Record<string, unknown>;
    for (const [field, value] of [
      ['x', x],
      ['y', y],
    ] as const) {
      if (value !== null && typeof value !== 'number')
        throw new SerinError('INPUT_INVALID', `${field} must be a number`, { fields: { field } });
    }
    return { x: x as number, y: y as number, key: key as string };
  },
  refsOf: (rows) => rows.map(({ request }) => ({ viewId: 'view@1', key: Buffer.from(String(request['key'])) })),
  assembleVectors(states, rows) {
    const values = new Float64Array(rows.length * 3);
    rows.forEach(({ request: { x, y } }, i) => {
      const state = states[i];
      values[i * 3] = (x as number | null) ?? NaN;
      values[i * 3 + 1] = (y as number | null) ?? NaN;
      values[i * 3 + 2] = state ? Buffer.from(state).readDoubleLE(0) : NaN;
    });
    const statuses = Uint8Array.from(values, (value, i) =>
      !Number.isNaN(value) ? PRESENT : i % 3 === 2 ? NOT_FOUND : NULL,
    );
    return { values, statuses, readAt: Float64Array.from(rows, ({ asOf }) => asOf) };
  },
  async readRows(store, rows) {
    const { states, knownSeq } = await store.read(anInput.refsOf(rows));
    const { values } = anInput.assembleVectors(states, rows);
    return {
      knownSeq,
      rows: rows.map(({ asOf }, i) => {
        const ofRow = anInput.columns.map((name, at) => {
          const value = values[i * 3 + at]!;
          return [name, Number.isNaN(value) ? null : value] as const;
        });
        return {
          values: Object.fromEntries(ofRow),
          statuses: Object.fromEntries(ofRow.map(([name, value]) => [name, value === null ? 'null' : 'present'])),
          // what is stored is of two seconds ago
          ages: { x: null, y: null, stored: states[i] ? 2_000_000 : null },
          readAt: asOf,
        };
      }),
    };
  },
};

export function aStore(stored: Readonly<Record<string, number>> = {}): OnlineReader & { reads: number } {
  return {
    reads: 0,
    read(refs) {
      this.reads++;
      const states = refs.map(({ key }) => {
        const value = stored[Buffer.from(key).toString()];
        if (value === undefined) return null;
        const state = Buffer.alloc(8);
        state.writeDoubleLE(value);
        return state;
      });
      return Promise.resolve({ states, knownSeq: new Map(), foldedAt: new Map() });
    },
  };
}

export function readerOf(store: OnlineReader) {
  const nowMs = () => performance.now();
  return createFeatureBatchReader(store, { timeoutMs: 1_000, circuit: new Circuit(NEVER_OPEN), nowMs });
}

const NEVER_OPEN: CircuitPolicy = { windowMs: 1_000, minCalls: Infinity, failureShare: 1, openMs: 0, probes: 1 };

/** Its circuits stay closed unless a policy says otherwise. */
export function aVersionScorer(policy: CircuitPolicy = NEVER_OPEN, nowMs = () => performance.now()): VersionScorer {
  return new VersionScorer({ circuits: new Circuits(policy), nowMs });
}

export function aScorer(scoreRow: (row: Float64Array) => number): Scorer & { runs: number } {
  return {
    featureCount: 3,
    runs: 0,
    async score(features, rows) {
      this.runs++;
      return Float64Array.from({ length: rows }, (_, i) => scoreRow(features.subarray(i * 3, i * 3 + 3)));
    },
    release: () => Promise.resolve(),
  };
}

export function aVersion(version: number, scorer: Scorer, overrides: Partial<ServedVersion> = {}): ServedVersion {
  return {
    model: 'delay',
    version,
    kind: version === 0 ? 'rule' : 'onnx',
    featureSet: 'features@1',
    featureNames: anInput.columns,
    input: anInput,
    scorer,
    personal: NO_PERSONAL_DATA,
    threshold: 0.5,
    ...overrides,
  };
}

export function aRoute(overrides: Partial<Route> = {}): Route {
  return {
    model: 'delay',
    epoch: 7,
    champion: 2,
    lastKnownGood: 1,
    canary: null,
    canaryWeight: 0,
    shadow: null,
    salt: 'salt',
    rolloutId: null,
    unit: null,
    updatedAt: 0,
    reason: 'test',
    ...overrides,
  };
}

export const aRule = (): ServedVersion =>
  aVersion(
    0,
    aScorer(() => 0.1),
  );

export function anEntry(versions: {
  champion: ServedVersion;
  lastKnownGood?: ServedVersion;
  canary?: ServedVersion;
  canaryWeight?: number;
  shadow?: ServedVersion;
  rule?: ServedVersion;
  fallback?: string;
}): Promise<RouteEntry> {
  const {
    champion,
    lastKnownGood = champion,
    canary = null,
    shadow = null,
    canaryWeight = canary ? 5_000 : 0,
    rule = aRule(),
    fallback,
  } = versions;
  return buildEntry({
    route: aRoute({
      champion: champion.version,
      lastKnownGood: lastKnownGood.version,
      canary: canary?.version ?? null,
      canaryWeight,
      shadow: shadow?.version ?? null,
    }),
    contract: { latencyBudgetMsP99: 50, logSampleRate: 0.1, ...(fallback !== undefined && { fallback }) },
    champion,
    lastKnownGood,
    canary,
    shadow,
    rule,
  });
}

/** Work of ordinary urgency, on a model of which nothing is known yet. */
export const unhurried = { priority: NORMAL, deadlineMs: Infinity, cost: new CostModel() };

export function anInstance(id: string, request: { x?: number; y?: number; key?: string } = {}): Instance {
  const fields = { x: 0, y: 0, key: 'none', ...request };
  return { predictionId: id, unit: id, asOf: 1_000_000, fields, request: fields };
}

/** Keeps what it is told. */
export function aLedger() {
  const answers: Answer[] = [];
  const shadows: ShadowScore[] = [];
  const ledger = { answers, shadows, dropped: 0, batches: [] as number[] };
  const accounting: Accounting = {
    answered: (_entry, given) => void answers.push(...given),
    shadowScored: (_entry, scores) => void shadows.push(...scores),
    shadowDropped: (_entry, rows) => void (ledger.dropped += rows),
    batchDone: (rows) => void ledger.batches.push(rows),
    queued: () => undefined,
    read: () => undefined,
    computed: () => undefined,
  };
  return { ledger, accounting };
}
