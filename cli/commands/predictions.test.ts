import { expect, test } from 'vitest';
import type { Output } from '../output.ts';
import { showPrediction } from './predictions.ts';

const output: Output = { json: false, terminal: true, write: () => undefined, note: () => undefined };
/** 2026-11-21T06:00:00Z */
const AT = 1_795_240_800_000_000;

test('an answer is shown with who gave it and why, what decided its label, and each feature', () => {
  const text = showPrediction(output, {
    predictionId: 'p1',
    exported: true,
    outcome: { value: 1, observedAt: AT },
    answers: [
      {
        predictionId: 'p1',
        model: 'flight-delay',
        version: 2,
        arm: 'canary',
        rung: 'fallback',
        epoch: 9,
        unit: 'pii:Xy12',
        asOf: AT,
        answeredAt: AT,
        score: 0.61,
        sampleWeight: 1,
        features: [0.5, null],
        statuses: [0, 1],
        request: { origin: 'SEA', who: 'pii:Zz' },
        latencyMicros: 1_234,
        error: 'v3: it did not compute within 5 ms',
        reason: 'timeout',
        known: { knownSeq: { 'delays@1': 12 }, readAt: AT },
        servedModel: 'simple-delay',
        redacted: ['request.who', 'unit', 'features.age'],
        traceId: '4bf92f3577b34da6a3ce929d0e0e4736',
        explanation: {
          version: {
            model: 'simple-delay',
            version: 2,
            kind: 'onnx',
            stage: 'production',
            manifestSha256: 'abcdef0123456789',
            project: 'flights',
            projectDigest: 'd',
            featureSet: 'delay_features@1',
            dataset: '0123456789abcdef',
            runId: 'run-7',
            calibration: 'platt',
          },
          decision: { label: 1, className: 'late', threshold: 0.6, slice: 'AA' },
          features: [
            { name: 'share', value: 0.5, status: 'present', withheld: false },
            { name: 'age', value: null, status: 'null', withheld: true },
          ],
          rollout: { rolloutId: 'rollout/flight-delay/3', version: 3, phase: 'canary' },
          links: { version: '/v1/models/simple-delay/versions/2', rollout: '/v1/rollouts/flight-delay/3' },
        },
      },
    ],
  });
  for (const part of [
    '1, observed 2026-11-21 06:00:00 UTC',
    'v2 of simple-delay (onnx, production)',
    'timeout: v3: it did not compute within 5 ms',
    'late: at or above 0.6 (threshold of AA)',
    '0.61 (calibrated by platt)',
    'in 1.23 ms',
    'delays@1 up to #12',
    'rollout/flight-delay/3 (v3, canary)',
    'Parquet (no longer in PostgreSQL)',
  ])
    expect(text).toContain(part);
  expect(text).toMatch(/share +0\.5 +present/);
  expect(text).toMatch(/age +\(personal\) +null/);
});
