import { afterAll, beforeAll, expect, test } from 'vitest';
import { createEventIntake } from '../../api/event-intake.ts';
import { connectDatabase, type Database } from '../../db/database.ts';
import { type BufferedEvent, readBuffer } from '../../db/ingest.ts';
import type { EventIndex } from '../../domain/features/event-index.ts';
import { createTestDatabase } from '../setup/test-database.ts';

let database: Database;
beforeAll(async () => {
  database = connectDatabase(await createTestDatabase(), { name: 'test', max: 4 });
});
afterAll(() => database.close());

/** Nothing is in the log yet. */
const index: EventIndex = { stored: () => Promise.resolve(new Set<string>()), close: () => undefined } as EventIndex;
const anEvent = (number: number): BufferedEvent => {
  const id = `00000000-0000-0000-0000-${String(number).padStart(12, '0')}`;
  return { eventId: id, versionId: id, operation: 'put', eventAt: 1, availableAt: 1, clockAt: 1, row: { number } };
};

test('pushes at the same time are stored together, each told what of it was new, the same row once', async () => {
  const intake = createEventIntake(database.db, index);
  // neighbours share half of their events
  const pushes = Array.from({ length: 20 }, (_, i) => Array.from({ length: 10 }, (__, j) => anEvent(i * 5 + j)));
  const taken = await Promise.all(pushes.map((events) => intake.push('rides', events)));
  expect(taken.reduce((sum, { added }) => sum + added, 0)).toBe(105);
  expect(taken[0]!.added).toBe(10);
  const stored = await readBuffer(database.db, { source: 'rides', afterSeq: 0, limit: 1_000 });
  expect(stored.map(({ row }) => row['number']).toSorted((a, b) => (a as number) - (b as number))).toEqual(
    Array.from({ length: 105 }, (_, i) => i),
  );
  expect(Math.max(...taken.map(({ lastSeq }) => lastSeq))).toBeGreaterThanOrEqual(stored.at(-1)!.seq);
  expect((await intake.push('rides', pushes[3]!)).added).toBe(0);
});

test('a push that cannot be stored fails alone', async () => {
  const intake = createEventIntake(database.db, index);
  const outcomes = await Promise.allSettled([
    intake.push('fares', [anEvent(1)]),
    intake.push('fares', [anEvent(2)]),
    intake.push('fares', [{ ...anEvent(3), versionId: 'no uuid' }]),
    intake.push('fares', [anEvent(4)]),
  ]);
  expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled', 'rejected', 'fulfilled']);
  const stored = await readBuffer(database.db, { source: 'fares', afterSeq: 0, limit: 10 });
  expect(stored.map(({ row }) => row['number'])).toEqual([1, 2, 4]);
});

test('a queue that is full refuses, and takes again when it is not', async () => {
  const intake = createEventIntake(database.db, index);
  const many = Array.from({ length: 25_000 }, (_, i) => anEvent(1_000 + i));
  const first = intake.push('trips', many.slice(0, 10));
  const second = intake.push('trips', many);
  const third = intake.push('trips', many);
  await expect(async () => intake.push('trips', many)).rejects.toMatchObject({ code: 'OVERLOADED', retryable: true });
  const taken = await Promise.all([first, second, third]);
  expect(taken.map(({ added }) => added)).toEqual([10, 24_990, 0]);
  expect((await intake.push('trips', many)).added).toBe(0);
});
