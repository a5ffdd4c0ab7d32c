import { expect, test } from 'vitest';
import { freshnessOf, type ViewClocks } from './view-freshness.ts';

const SECOND = 1_000_000;
const FRESH: ViewClocks = { newestEventAt: 90 * SECOND, clockOffset: null, waitsSince: null, lastDelay: 20_000 };

test('a view within its SLA on both clocks breaks nothing, up to the last microsecond', () => {
  expect(freshnessOf(FRESH, 10, 100 * SECOND)).toEqual({
    dataAgeSeconds: 10,
    waitingSeconds: 0,
    lastDelaySeconds: 0.02,
    breached: [],
  });
  expect(freshnessOf(FRESH, 10, 100 * SECOND + 1).breached).toEqual(['data']);
});

test('the age of data goes by the clock of those who push', () => {
  // a replay of long ago, whose clock is 80 s behind the wall's
  const replay = { ...FRESH, newestEventAt: 15 * SECOND, clockOffset: -80 * SECOND };
  expect(freshnessOf(replay, 10, 100 * SECOND)).toMatchObject({ dataAgeSeconds: 5, breached: [] });
  // and one ahead of what it says of the future is not of negative age
  expect(freshnessOf({ ...FRESH, newestEventAt: 200 * SECOND }, 10, 100 * SECOND).dataAgeSeconds).toBe(0);
});

test('events that wait too long break the promise while the newest data is young', () => {
  const stuck = { ...FRESH, newestEventAt: 99 * SECOND, waitsSince: 80 * SECOND };
  expect(freshnessOf(stuck, 10, 100 * SECOND)).toMatchObject({ waitingSeconds: 20, breached: ['pipeline'] });
});

test('a view without events has no age', () => {
  const empty = { newestEventAt: null, clockOffset: null, waitsSince: null, lastDelay: null };
  expect(freshnessOf(empty, 1, 100 * SECOND)).toEqual({
    dataAgeSeconds: null,
    waitingSeconds: 0,
    lastDelaySeconds: null,
    breached: [],
  });
});
