import { afterAll, beforeAll, expect, test } from 'vitest';
import { connectDatabase, type Database } from '../../db/database.ts';
import { type BufferedEvent, readBuffer } from '../../db/ingest.ts';
import { type KafkaTopic, listRefusedRecords, type PartitionIntake, readKafkaOffsets, takeIn } from '../../db/kafka.ts';
import { createTestDatabase } from '../setup/test-database.ts';

let database: Database;
let made = 0;

beforeAll(async () => {
  database = connectDatabase(await createTestDatabase(), { name: 'intake-test', max: 8 });
});
afterAll(() => database.close());

const NOTHING_STORED = { index: { stored: async () => new Set<string>() }, at: 5 };

function aTopic(): KafkaTopic {
  made += 1;
  return { topic: `t${made}`, topicId: 'first', source: `s${made}` };
}

function anEvent(n: number): BufferedEvent {
  const id = `00000000-0000-0000-0000-${String(n).padStart(12, '0')}`;
  return { eventId: id, versionId: id, operation: 'put', eventAt: n, availableAt: n, clockAt: 1, row: { n } };
}

/** The records `from…to − 1` of a partition; every tenth is refused. Ids are made of partition and offset. */
function anIntake(partition: number, from: number, to: number): PartitionIntake {
  const offsets = Array.from({ length: to - from }, (_, i) => from + i);
  return {
    partition,
    fromOffset: from,
    nextOffset: to,
    events: offsets
      .filter((n) => n % 10 > 0)
      .map((offset) => ({ offset, event: anEvent(partition * 1_000_000 + offset) })),
    refused: offsets.filter((n) => n % 10 === 0).map((offset) => ({ offset, reasons: [], value: 'x' })),
  };
}

function take(topic: KafkaTopic, ...intake: PartitionIntake[]): Promise<{ added: number; refused: number }> {
  return database.db.transaction().execute((tx) => takeIn(tx, topic, intake, NOTHING_STORED));
}

async function eventsOf({ source }: KafkaTopic): Promise<number> {
  return (await readBuffer(database.db, { source, afterSeq: 0, limit: 10_000 })).length;
}

test('the same records taken in by many consumers at a time count once', async () => {
  const topic = aTopic();
  const intake = [anIntake(0, 0, 100), anIntake(1, 0, 50)];
  const results = await Promise.all(Array.from({ length: 6 }, () => take(topic, ...intake)));
  expect(results.filter(({ added }) => added > 0)).toEqual([{ added: 135, refused: 15 }]);
  expect(await eventsOf(topic)).toBe(135);
  expect(await readKafkaOffsets(database.db, topic)).toEqual(
    new Map([
      [0, 100],
      [1, 50],
    ]),
  );
});

test('an overlap with what was taken in before is left out, and an offset never goes back', async () => {
  const topic = aTopic();
  await take(topic, anIntake(0, 0, 60));
  expect(await take(topic, anIntake(0, 30, 90))).toEqual({ added: 27, refused: 3 });
  expect(await take(topic, anIntake(0, 0, 10))).toEqual({ added: 0, refused: 0 });
  expect(await readKafkaOffsets(database.db, topic)).toEqual(new Map([[0, 90]]));
  expect(await eventsOf(topic)).toBe(81);
});

test('a transaction that fails takes in nothing', async () => {
  const topic = aTopic();
  const failing = database.db.transaction().execute(async (tx) => {
    await takeIn(tx, topic, [anIntake(0, 0, 20)], NOTHING_STORED);
    throw new Error('the process dies');
  });
  await expect(failing).rejects.toThrow('the process dies');
  expect(await eventsOf(topic)).toBe(0);
  expect((await readKafkaOffsets(database.db, topic)).size).toBe(0);
});

test('a topic made anew under a name begins where its reader begins', async () => {
  const topic = aTopic();
  await take(topic, anIntake(0, 0, 40));
  const anew = { ...topic, topicId: 'second' };
  expect((await readKafkaOffsets(database.db, anew)).size).toBe(0);
  // its records are new ones; those with known ids stay what they are
  expect(await take(anew, anIntake(0, 0, 50))).toEqual({ added: 9, refused: 5 });
  expect(await readKafkaOffsets(database.db, anew)).toEqual(new Map([[0, 50]]));
});

test('the newest 10,000 refused records of a partition are kept', async () => {
  const topic = aTopic();
  for (let from = 0; from < 12_000; from += 4_000) {
    const offsets = Array.from({ length: 4_000 }, (_, i) => from + i);
    const refused = offsets.map((offset) => ({ offset, reasons: [], value: null }));
    await take(topic, { partition: 0, fromOffset: from, nextOffset: from + 4_000, events: [], refused });
  }
  const kept = await listRefusedRecords(database.db, topic.source, 20_000);
  expect(kept).toHaveLength(10_000);
  expect(kept.at(-1)!.offset).toBe(2_000);
});
