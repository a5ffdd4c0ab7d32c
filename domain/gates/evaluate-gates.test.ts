import fc from 'fast-check';
import { expect, test } from 'vitest';
import { evaluateGates } from './evaluate-gates.ts';
import type { GateEvidence, QualityEvidence, ServingEvidence } from './gate-evidence.ts';
import type { GateSpec } from './gate-spec.ts';

const estimate = (value: number, standardError = 0.002) => ({
  value,
  low: value - 1.96 * standardError,
  high: value + 1.96 * standardError,
  standardError,
});

const slice = (value: string, rows: number, auc: number | null) => ({
  column: 'origin',
  value,
  rows,
  positives: Math.round(rows / 5),
  auc: auc === null ? null : estimate(auc),
  logLoss: estimate(0.5),
});

const quality: QualityEvidence = {
  rows: 20_000,
  auc: estimate(0.7),
  logLoss: estimate(0.48),
  brier: estimate(0.15),
  calibration: { ece: 0.01 },
  comparison: {
    championAuc: 0.68,
    championLogLoss: 0.49,
    aucDifference: { ...estimate(0.02), p: 0.001 },
    logLossDifference: { ...estimate(-0.01), p: 0.001 },
  },
  slices: [slice('ORD', 1_000, 0.66), slice('JFK', 800, 0.61), slice('BTM', 20, null)],
};
const serving: ServingEvidence = {
  loaded: true,
  parityMaxAbsDifference: 1e-7,
  rowsCompared: 500,
  latencyMsP50: 1,
  latencyMsP99: 4,
  rssMiB: 200,
};
const sound: GateEvidence = { schema: [], leakage: [], evaluation: quality, serving };

const gates: readonly GateSpec[] = [
  { kind: 'schema' },
  { kind: 'leakage' },
  { kind: 'threshold', metric: 'auc', min: 0.65 },
  { kind: 'threshold', metric: 'log_loss', max: 0.5 },
  { kind: 'regression', metric: 'auc', maxHarm: 0.005, confidence: 0.95 },
  { kind: 'regression', metric: 'log_loss', maxHarm: 0.005, confidence: 0.95 },
  { kind: 'slices', slice: 'origin', metric: 'auc', min: 0.6, minRows: 500 },
  { kind: 'calibration', maxEce: 0.03 },
  { kind: 'latency', p99Ms: 20 },
  { kind: 'parity', maxAbsDifference: 1e-6 },
  { kind: 'memory', maxMiB: 512 },
];

function judge(gate: GateSpec, evidence: GateEvidence) {
  return evaluateGates([gate], evidence).results[0];
}

test('a sound version passes every gate', () => {
  const report = evaluateGates(gates, sound);
  expect(report.results.filter(({ verdict }) => verdict !== 'pass')).toEqual([]);
  expect(report.verdict).toBe('pass');
});

test('with no evidence at all every gate is insufficient, and so is the report', () => {
  const report = evaluateGates(gates, {});
  expect(report.results.map(({ verdict }) => verdict)).toEqual(gates.map(() => 'insufficient'));
  expect(report.verdict).toBe('insufficient');
});

test('a report without gates never passes', () => {
  expect(evaluateGates([], sound).verdict).toBe('insufficient');
});

test('one failed gate fails the report, and the others are judged all the same', () => {
  const leaking = {
    ...sound,
    leakage: [
      { feature: 'delay_now', kind: 'available_after_prediction', sentence: 'delay_now is known after the prediction' },
    ],
  };
  const report = evaluateGates(gates, leaking);
  expect(report.verdict).toBe('fail');
  expect(report.results).toHaveLength(gates.length);
  expect(report.results[1]).toMatchObject({
    verdict: 'fail',
    observed: 1,
    sentence: 'delay_now is known after the prediction',
  });
});

test('leaving out any part of the evidence never turns a report into a pass', () => {
  const parts = ['schema', 'leakage', 'evaluation', 'serving'] as const;
  fc.assert(
    fc.property(fc.subarray([...parts], { maxLength: parts.length - 1 }), (kept) => {
      const evidence = Object.fromEntries(kept.map((part) => [part, sound[part]])) as GateEvidence;
      return evaluateGates(gates, evidence).verdict === 'insufficient';
    }),
  );
});

test('a regression passes on its bound, fails on its estimate, and is insufficient between', () => {
  const gate: GateSpec = { kind: 'regression', metric: 'auc', maxHarm: 0.005, confidence: 0.95 };
  const compared = (value: number, standardError: number): GateEvidence => ({
    evaluation: {
      ...quality,
      comparison: { ...quality.comparison!, aucDifference: { ...estimate(value, standardError), p: 0.5 } },
    },
  });
  expect(judge(gate, compared(-0.001, 0.001))?.verdict).toBe('pass');
  expect(judge(gate, compared(-0.001, 0.01))?.verdict).toBe('insufficient');
  expect(judge(gate, compared(-0.02, 0.001))?.verdict).toBe('fail');
  expect(judge(gate, compared(-0.001, 0.001))?.observed).toBeCloseTo(0.001 + 1.6449 * 0.001, 6);
});

test('a first version has no champion to compare with, and the regression gate says so', () => {
  const gate: GateSpec = { kind: 'regression', metric: 'auc', maxHarm: 0.005, confidence: 0.95 };
  expect(judge(gate, { evaluation: { ...quality, comparison: null } })).toMatchObject({
    verdict: 'insufficient',
    sentence: 'there is no comparison of auc with the champion on the same rows',
  });
});

test('the worst large slice decides, small ones are left out', () => {
  const gate: GateSpec = { kind: 'slices', slice: 'origin', metric: 'auc', min: 0.65, minRows: 500 };
  expect(judge(gate, sound)).toMatchObject({ verdict: 'fail', observed: 0.61, limit: 0.65 });
  expect(judge({ ...gate, minRows: 900 }, sound)?.verdict).toBe('pass');
  expect(judge({ ...gate, minRows: 5_000 }, sound)?.verdict).toBe('insufficient');
  expect(judge({ ...gate, minRows: 10 }, sound)?.verdict).toBe('insufficient');
});

test('numbers of a model that did not load, and numbers that are none, prove nothing', () => {
  const unloaded = { ...sound, serving: { ...serving, loaded: false } };
  expect(judge({ kind: 'latency', p99Ms: 20 }, unloaded)?.verdict).toBe('insufficient');
  expect(
    judge(
      { kind: 'parity', maxAbsDifference: 1 },
      { serving: { ...serving, rowsCompared: 0, parityMaxAbsDifference: 0 } },
    )?.verdict,
  ).toBe('insufficient');
  expect(judge({ kind: 'latency', p99Ms: 20 }, { serving: { ...serving, latencyMsP99: Number.NaN } })?.verdict).toBe(
    'insufficient',
  );
  expect(
    judge({ kind: 'calibration', maxEce: 1 }, { evaluation: { ...quality, calibration: { ece: Number.NaN } } })
      ?.verdict,
  ).toBe('insufficient');
});

test('sentences carry the numbers', () => {
  expect(judge({ kind: 'latency', p99Ms: 3 }, sound)?.sentence).toBe(
    'the p99 latency is 4 ms, at most 3 ms is allowed',
  );
  expect(judge({ kind: 'threshold', metric: 'auc', min: 0.75 }, sound)?.sentence).toBe(
    'auc is 0.7, the gate asks for ≥ 0.75',
  );
});
