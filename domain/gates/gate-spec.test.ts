import { expect, test } from 'vitest';
import { checkGateSpecs, gateName } from './gate-spec.ts';
import type { GateSpec } from './gate-spec.ts';

const all: readonly GateSpec[] = [
  { kind: 'schema' },
  { kind: 'leakage' },
  { kind: 'threshold', metric: 'auc', min: 0.65 },
  { kind: 'regression', metric: 'log_loss', maxHarm: 0.01, confidence: 0.95 },
  { kind: 'slices', slice: 'origin', metric: 'auc', min: 0.55, minRows: 500 },
  { kind: 'calibration', maxEce: 0.03 },
  { kind: 'latency', p99Ms: 20 },
  { kind: 'parity', maxAbsDifference: 1e-6 },
  { kind: 'memory', maxMiB: 512 },
];

test('a well-formed list comes back as it is', () => {
  expect(checkGateSpecs(structuredClone(all), 'gates')).toEqual(all);
  expect(new Set(all.map(gateName)).size).toBe(all.length);
});

test.each([
  [[], 'gates is []; it must be a list of at least one gate'],
  [[{ kind: 'speed' }], 'gates[0].kind is "speed"; it must be one of schema, leakage, threshold'],
  [[null], 'gates[0] is null; it must be an object'],
  [[{ kind: 'threshold', metric: 'auc' }], 'gates[0].min is missing; a gate on auc needs "min"'],
  [[{ kind: 'threshold', metric: 'brier', min: 0.2 }], 'gates[0].max is missing; a gate on brier needs "max"'],
  [[{ kind: 'threshold', metric: 'auc', min: 1.2 }], 'gates[0].min is 1.2; it must be a number between 0 and 1'],
  [[{ kind: 'latency', p99Ms: Number.NaN }], 'gates[0].p99Ms is NaN; it must be a number above 0'],
  [[{ kind: 'latency', p99ms: 3 }], 'gates[0].p99ms is 3; there is no such field; the fields are kind, p99Ms'],
  [[{ kind: 'slices', slice: '', metric: 'auc', min: 0.5, minRows: 10 }], 'gates[0].slice is ""'],
  [[{ kind: 'schema' }, { kind: 'schema' }], 'gates[1] is "schema"; the same gate is listed twice'],
] as const)('%j is refused with the field, the value and the rule', (gates, message) => {
  expect(() => checkGateSpecs(gates, 'gates')).toThrow(message);
});
