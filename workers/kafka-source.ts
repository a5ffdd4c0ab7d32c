import { setTimeout as sleep } from 'node:timers/promises';
import { type ClusterTopicMetadata, Consumer, ListOffsetTimestamps } from '@platformatic/kafka';
import type { Kysely } from 'kysely';
import type { Pool } from 'pg';
import { Counter, Gauge, type Registry } from 'prom-client';
import { type KafkaTopic, moveOffset, type PartitionIntake, readKafkaOffsets, takeIn } from '../db/kafka.ts';
import type { Tables } from '../db/schema.ts';
import { createSourceContracts } from '../db/source-contracts.ts';
import type { EventIndex } from '../domain/features/event-index.ts';
import type { Micros } from '../domain/time.ts';
import type { KafkaSettings } from '../platform/kafka-settings.ts';
import type { Logger } from '../platform/logger.ts';
import { type FetchResponse, readPartition } from './kafka-records.ts';
import { createTopicLocks } from './topic-locks.ts';

/** A broker without news answers after this long; with news at once. */
const FETCH_WAIT_MS = 100;
const FETCH_BYTES = 4 << 20;
const FETCH_BYTES_PER_PARTITION = 1 << 20;
/** After a failure, and to look whether a topic that another process has is free. */
const RETRY_MS = 1_000;
/** How soon new partitions of a topic are found. */
const METADATA_MS = 10_000;
const REQUEST_TIMEOUT_MS = 10_000;

export interface KafkaSource {
  stop(): Promise<void>;
}

export interface KafkaSourceDependencies {
  readonly db: Kysely<Tables>;
  readonly pool: Pool;
  readonly index: EventIndex;
  readonly settings: KafkaSettings;
  readonly logger: Logger;
  readonly registry: Registry;
  readonly nodeId: string;
  readonly now: () => Micros;
}

/**
 * Brings the records of Kafka topics into the event buffers of their sources. How far it has read stands in PostgreSQL, in the
 * transaction that takes the records in: a process that dies loses nothing and doubles nothing. Offsets are not committed to
 * Kafka, and no consumer group is joined.
 */
export function startKafkaSource(dependencies: KafkaSourceDependencies): KafkaSource {
  const { pool, settings, logger, registry } = dependencies;
  const metrics = createMetrics(registry);
  const locks = createTopicLocks(pool);
  const contractOf = createSourceContracts(dependencies.db);
  const stopping = new AbortController();
  const { signal } = stopping;
  const loops = Object.entries(settings.topics).map(async ([topic, source]) => {
    while (!signal.aborted) {
      let consumer: Consumer | undefined;
      try {
        if (await locks.acquire(topic)) {
          consumer = createConsumer(settings, dependencies.nodeId);
          await consume(consumer, topic, source);
        }
      } catch (error) {
        if (!signal.aborted) logger.error({ err: error, topic, source }, 'a topic cannot be read; it is tried again');
      }
      await consumer?.close().catch(() => undefined);
      await sleep(RETRY_MS, undefined, { signal }).catch(() => undefined);
    }
  });
  return {
    async stop() {
      stopping.abort();
      await Promise.all(loops);
      locks.close();
    },
  };

  /** Reads until it is stopped, or something fails. */
  async function consume(consumer: Consumer, topic: string, source: string): Promise<void> {
    logger.info({ topic, source }, 'reading a topic');
    while (!signal.aborted) {
      const metadata = (await consumer.metadata({ topics: [topic], forceUpdate: true })).topics.get(topic)!;
      const of: KafkaTopic = { topic, topicId: metadata.id, source };
      const offsets = await offsetsOf(consumer, of, metadata);
      const lookAgainAt = performance.now() + METADATA_MS;
      while (!signal.aborted && performance.now() < lookAgainAt && (await locks.acquire(topic))) {
        const responses = await fetchAll(consumer, of, metadata, offsets);
        if (responses === 'moved') break;
        await take(of, responses, offsets);
      }
      if (!(await locks.acquire(topic))) return;
    }
  }

  /** Where to read on, per partition; at its beginning where it was never read. */
  async function offsetsOf(
    consumer: Consumer,
    of: KafkaTopic,
    { partitionsCount }: ClusterTopicMetadata,
  ): Promise<Map<number, number>> {
    const offsets = new Map(await readKafkaOffsets(dependencies.db, of));
    const partitions = Array.from({ length: partitionsCount }, (_, partition) => partition);
    const unread = partitions.filter((partition) => !offsets.has(partition));
    if (unread.length === 0) return offsets;
    const earliest = await edge(consumer, of.topic, ListOffsetTimestamps.EARLIEST);
    for (const partition of unread) offsets.set(partition, earliest[partition]!);
    return offsets;
  }

  async function fetchAll(
    consumer: Consumer,
    of: KafkaTopic,
    metadata: ClusterTopicMetadata,
    offsets: ReadonlyMap<number, number>,
  ): Promise<FetchResponse[] | 'moved'> {
    const byLeader = new Map<number, number[]>();
    for (const partition of offsets.keys()) {
      const { leader } = metadata.partitions[partition]!;
      byLeader.set(leader, [...(byLeader.get(leader) ?? []), partition]);
    }
    const fetches = [...byLeader].map(([node, partitions]) =>
      consumer.fetch({
        node,
        maxWaitTime: FETCH_WAIT_MS,
        maxBytes: FETCH_BYTES,
        topics: [
          {
            topicId: of.topicId,
            partitions: partitions.map((partition) => ({
              partition,
              fetchOffset: BigInt(offsets.get(partition)!),
              partitionMaxBytes: FETCH_BYTES_PER_PARTITION,
              currentLeaderEpoch: -1,
              lastFetchedEpoch: -1,
            })),
          },
        ],
      }),
    );
    try {
      return await Promise.all(fetches);
    } catch (error) {
      await Promise.allSettled(fetches);
      if (!isOutOfRange(error)) throw error;
      await moveIntoRange(consumer, of, offsets);
      return 'moved';
    }
  }

  async function take(
    of: KafkaTopic,
    responses: readonly FetchResponse[],
    offsets: Map<number, number>,
  ): Promise<void> {
    const contract = await contractOf(of.source);
    const at = dependencies.now();
    const partitions = responses.flatMap((response) => response.responses.flatMap((each) => each.partitions));
    const intake: PartitionIntake[] = partitions
      .map((each) => readPartition(each, offsets.get(each.partitionIndex)!, contract, at))
      .filter((each) => each.nextOffset > each.fromOffset);
    if (intake.length > 0) {
      const { added, refused } = await dependencies.db
        .transaction()
        .execute((tx) => takeIn(tx, of, intake, { index: dependencies.index, at }));
      const events = intake.reduce((sum, each) => sum + each.events.length, 0);
      metrics.records.inc({ topic: of.topic, outcome: 'added' }, added);
      metrics.records.inc({ topic: of.topic, outcome: 'known' }, events - added);
      metrics.records.inc({ topic: of.topic, outcome: 'refused' }, refused);
      for (const { partition, nextOffset } of intake) offsets.set(partition, nextOffset);
    }
    for (const { partitionIndex: partition, highWatermark } of partitions) {
      const lag = Math.max(0, Number(highWatermark) - offsets.get(partition)!);
      metrics.lag.set({ topic: of.topic, partition: String(partition) }, lag);
    }
  }

  /**
   * The broker has no record at an offset: it deleted them (what was not read by then is lost, and said to be), or the partition
   * was cut back (it is read from its beginning again; what was taken in before is known by its ids).
   */
  async function moveIntoRange(
    consumer: Consumer,
    of: KafkaTopic,
    offsets: ReadonlyMap<number, number>,
  ): Promise<void> {
    const earliest = await edge(consumer, of.topic, ListOffsetTimestamps.EARLIEST);
    const latest = await edge(consumer, of.topic, ListOffsetTimestamps.LATEST);
    for (const [partition, from] of offsets) {
      const to = earliest[partition]!;
      if (from >= to && from <= latest[partition]!) continue;
      const lost = Math.max(0, to - from);
      metrics.lost.inc({ topic: of.topic }, lost);
      logger.error({ ...of, partition, from, to, lost }, 'the broker no longer has the records that are next');
      await moveOffset(dependencies.db, of, { partition, from, to, at: dependencies.now() });
    }
  }
}

function createConsumer({ brokers, tls, sasl }: KafkaSettings, nodeId: string): Consumer {
  return new Consumer({
    clientId: `serin-${nodeId}`,
    // named in no request: partitions are read, not shared out
    groupId: 'serin',
    bootstrapBrokers: [...brokers],
    // failures are dealt with here
    retries: 0,
    requestTimeout: REQUEST_TIMEOUT_MS,
    connectTimeout: REQUEST_TIMEOUT_MS,
    ...(tls === true && { tls: {} }),
    ...(sasl !== undefined && { sasl }),
  });
}

async function edge(consumer: Consumer, topic: string, timestamp: bigint): Promise<number[]> {
  const offsets = await consumer.listOffsets({ topics: [topic], timestamp });
  return offsets.get(topic)!.map(Number);
}

function isOutOfRange(error: unknown): boolean {
  const { findBy } = error as { findBy?: (property: string, value: unknown) => unknown };
  return typeof findBy === 'function' && Boolean(findBy.call(error, 'apiId', 'OFFSET_OUT_OF_RANGE'));
}

function createMetrics(registry: Registry) {
  return {
    records: new Counter({
      name: 'serin_kafka_records_total',
      help: 'Records read: added to the source, known already, or refused by its contract.',
      labelNames: ['topic', 'outcome'],
      registers: [registry],
    }),
    lost: new Counter({
      name: 'serin_kafka_lost_records_total',
      help: 'Records that the broker deleted before they were read.',
      labelNames: ['topic'],
      registers: [registry],
    }),
    lag: new Gauge({
      name: 'serin_kafka_lag_records',
      help: 'Records of a partition that were not read yet.',
      labelNames: ['topic', 'partition'],
      registers: [registry],
    }),
  };
}
