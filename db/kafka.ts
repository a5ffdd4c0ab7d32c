import type { EventIndex } from '../domain/features/event-index.ts';
import type { RowReason } from '../domain/features/row-contract.ts';
import type { Db } from './database.ts';
import { type BufferedEvent, bufferEvents } from './ingest.ts';

/** Refused records are kept so long as no more than this many newer ones of their partition are refused. */
const REFUSED_KEPT = 10_000;

export interface KafkaTopic {
  readonly topic: string;
  readonly topicId: string;
  readonly source: string;
}

/** What a fetch brought of one partition, in the order of its offsets. */
export interface PartitionIntake {
  readonly partition: number;
  /** The offset that was asked for. */
  readonly fromOffset: number;
  /** The one after the last that was looked at: records of aborted transactions count. */
  readonly nextOffset: number;
  readonly events: readonly { readonly offset: number; readonly event: BufferedEvent }[];
  readonly refused: readonly RefusedRecord[];
}

export interface RefusedRecord {
  readonly offset: number;
  readonly reasons: readonly RowReason[];
  /** As it came, cut; null for a record without a value. */
  readonly value: string | null;
}

/** The first record of each partition that was not taken in yet; partitions of the topic that were never read are absent. */
export async function readKafkaOffsets(db: Db, { topic, topicId }: KafkaTopic): Promise<ReadonlyMap<number, number>> {
  const rows = await db
    .selectFrom('kafka_offset')
    .select(['partition', 'next_offset'])
    .where('topic', '=', topic)
    .where('topic_id', '=', topicId)
    .execute();
  return new Map(rows.map((row) => [row.partition, row.next_offset]));
}

/**
 * Takes in what a fetch brought: the events, the refused records and the offsets after them, in the caller's transaction. A
 * record that is below its partition's stored offset was taken in before and is left out, so that a record counts once
 * whatever dies, and however many consumers there are.
 */
export async function takeIn(
  tx: Db,
  topic: KafkaTopic,
  intake: readonly PartitionIntake[],
  { index, at }: { index: EventIndex; at: number },
): Promise<{ added: number; refused: number }> {
  const standing = await lockOffsets(tx, topic, intake, at);
  const fresh = intake.map((each) => {
    const from = standing.get(each.partition)!;
    return {
      ...each,
      events: each.events.filter(({ offset }) => offset >= from),
      refused: each.refused.filter(({ offset }) => offset >= from),
      nextOffset: Math.max(each.nextOffset, from),
    };
  });
  const events = fresh.flatMap((each) => each.events.map(({ event }) => event));
  const { added } = events.length === 0 ? { added: 0 } : await bufferEvents(tx, topic.source, events, index);
  const refused = fresh.flatMap((each) => each.refused.map((record) => ({ ...record, partition: each.partition })));
  if (refused.length > 0) {
    await tx
      .insertInto('kafka_refused')
      .values(
        refused.map(({ partition, offset, reasons, value }) => ({
          topic: topic.topic,
          partition,
          record_offset: offset,
          source: topic.source,
          reasons: JSON.stringify(reasons),
          value,
          refused_at: at,
        })),
      )
      // of a topic of the same name that is gone
      .onConflict((conflict) =>
        conflict.columns(['topic', 'partition', 'record_offset']).doUpdateSet((eb) => ({
          reasons: eb.ref('excluded.reasons'),
          value: eb.ref('excluded.value'),
          refused_at: at,
        })),
      )
      .execute();
  }
  for (const { partition, nextOffset, refused: ofPartition } of fresh) {
    await tx
      .updateTable('kafka_offset')
      .set((eb) => ({ next_offset: nextOffset, refused: eb('refused', '+', ofPartition.length), updated_at: at }))
      .where('topic', '=', topic.topic)
      .where('partition', '=', partition)
      .execute();
    if (ofPartition.length > 0) await trimRefused(tx, topic.topic, partition);
  }
  return { added, refused: refused.length };
}

/** Puts a partition's offset where there are records again. @param from where it has to stand for this */
export async function moveOffset(
  db: Db,
  topic: KafkaTopic,
  { partition, from, to, at }: { partition: number; from: number; to: number; at: number },
): Promise<void> {
  await db
    .updateTable('kafka_offset')
    .set({ next_offset: to, updated_at: at })
    .where('topic', '=', topic.topic)
    .where('topic_id', '=', topic.topicId)
    .where('partition', '=', partition)
    .where('next_offset', '=', from)
    .execute();
}

/** Holds the rows of the partitions; those that are missing, or of an earlier topic of the name, are made. */
async function lockOffsets(
  tx: Db,
  { topic, topicId, source }: KafkaTopic,
  intake: readonly PartitionIntake[],
  at: number,
): Promise<ReadonlyMap<number, number>> {
  const rows = await tx
    .insertInto('kafka_offset')
    .values(
      intake
        .toSorted((a, b) => a.partition - b.partition)
        .map(({ partition, fromOffset }) => ({
          topic,
          partition,
          topic_id: topicId,
          source,
          next_offset: fromOffset,
          refused: 0,
          updated_at: at,
        })),
    )
    .onConflict((conflict) =>
      conflict.columns(['topic', 'partition']).doUpdateSet((eb) => ({
        next_offset: eb
          .case()
          .when('kafka_offset.topic_id', '=', topicId)
          .then(eb.ref('kafka_offset.next_offset'))
          .else(eb.ref('excluded.next_offset'))
          .end(),
        topic_id: topicId,
        source,
      })),
    )
    .returning(['partition', 'next_offset'])
    .execute();
  return new Map(rows.map((row) => [row.partition, row.next_offset]));
}

async function trimRefused(tx: Db, topic: string, partition: number): Promise<void> {
  await tx
    .deleteFrom('kafka_refused')
    .where('topic', '=', topic)
    .where('partition', '=', partition)
    .where('record_offset', '<=', (eb) =>
      eb
        .selectFrom('kafka_refused as newer')
        .select('newer.record_offset')
        .where('newer.topic', '=', topic)
        .where('newer.partition', '=', partition)
        .orderBy('newer.record_offset', 'desc')
        .offset(REFUSED_KEPT)
        .limit(1),
    )
    .execute();
}

export interface RefusedKafkaRecord extends RefusedRecord {
  readonly topic: string;
  readonly partition: number;
  readonly refusedAt: number;
}

/** The newest first. */
export async function listRefusedRecords(db: Db, source: string, limit: number): Promise<RefusedKafkaRecord[]> {
  const rows = await db
    .selectFrom('kafka_refused')
    .selectAll()
    .where('source', '=', source)
    .orderBy('refused_at', 'desc')
    .orderBy('topic')
    .orderBy('partition')
    .orderBy('record_offset', 'desc')
    .limit(limit)
    .execute();
  return rows.map((row) => ({
    topic: row.topic,
    partition: row.partition,
    offset: row.record_offset,
    reasons: row.reasons,
    value: row.value,
    refusedAt: row.refused_at,
  }));
}
