import { expect, test } from 'vitest';
import { newPredictionId } from './prediction-id.ts';

test('ids are UUIDs of version 7 that carry their millisecond', () => {
  const id = newPredictionId(1_790_000_000_123);
  expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  expect(Number.parseInt(id.replaceAll('-', '').slice(0, 12), 16)).toBe(1_790_000_000_123);
});

test('ids differ, across refills of the random pool too, and sort by time', () => {
  const ids = Array.from({ length: 2_000 }, (_, i) => newPredictionId(1_790_000_000_000 + i));
  expect(new Set(ids).size).toBe(2_000);
  expect(ids.toSorted()).toEqual(ids);
});
