import { fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Admin, Producer } from '@platformatic/kafka';
import { sql } from 'kysely';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { connectDatabase, type Database } from '../../db/database.ts';
import { getLastSequence, readBuffer } from '../../db/ingest.ts';
import { listRefusedRecords } from '../../db/kafka.ts';
import { putProject } from '../../db/projects.ts';
import { compiledModule } from '../../domain/compiled-module.ts';
import { PROJECT_FORMAT, type SourceSpec } from '../../domain/project/spec.ts';
import { openEventIndex } from '../../platform/event-index.ts';
import { FileBlobStore } from '../../platform/file-blob-store.ts';
import type { KafkaSettings } from '../../platform/kafka-settings.ts';
import { type KafkaSource, startKafkaSource } from '../../workers/kafka-source.ts';
import { eventually } from '../setup/eventually.ts';
import { startTestBroker, type TestBroker } from '../setup/kafka-broker.ts';
import { createTestDatabase } from '../setup/test-database.ts';

const broker: TestBroker | null = await startTestBroker();
afterAll(() => broker?.close());

describe.skipIf(broker === null)('a Kafka topic', () => {
  let address: string;
  let databaseUrl: string;
  let database: Database;
  let blobFolder: string;
  let admin: Admin;
  let producer: Producer<string, string, string, string>;
  let registry: Registry;
  const running: KafkaSource[] = [];
  const children: ReturnType<typeof fork>[] = [];

  beforeAll(async () => {
    address = broker!.address;
    databaseUrl = await createTestDatabase();
    database = connectDatabase(databaseUrl, { name: 'kafka-test', max: 8 });
    blobFolder = await mkdtemp(join(tmpdir(), 'serin-kafka-blobs-'));
  });

  beforeEach(() => {
    const options = { clientId: 'test', bootstrapBrokers: [address], retries: 20, retryDelay: 100 };
    admin = new Admin(options);
    producer = new Producer({
      ...options,
      serializers: { key: text, value: text, headerKey: text, headerValue: text },
    });
    registry = new Registry();
  });

  afterEach(async () => {
    for (const child of children.splice(0)) child.kill('SIGKILL');
    await Promise.all(running.splice(0).map((each) => each.stop()));
    await Promise.all([admin.close(), producer.close()]);
  });

  afterAll(async () => {
    await database.close();
    await rm(blobFolder, { recursive: true, force: true });
  });

  /** A topic and the source that it feeds, of one name. */
  async function aTopic(name: string, partitions = 1): Promise<KafkaSettings> {
    const spec = {
      format: PROJECT_FORMAT,
      name,
      description: '',
      sources: [aSource(name)],
      entities: [],
      views: [],
      featureSets: [],
      spines: [],
      labels: [],
      models: [],
    } as const;
    await putProject(database.db, { spec, digest: name, bundleSha256: null, by: 'tests', at: 1 });
    await admin.createTopics({ topics: [name], partitions, replicas: 1 });
    return { brokers: [address], topics: { [name]: name } };
  }

  function start(settings: KafkaSettings): KafkaSource {
    const { db, pool } = database;
    const index = openEventIndex(new FileBlobStore(blobFolder));
    const logger = pino({ level: 'silent' });
    const now = (): number => 1_000_000;
    const source = startKafkaSource({ db, pool, index, settings, logger, registry, nodeId: 'test', now });
    running.push(source);
    return source;
  }

  async function stop(source: KafkaSource): Promise<void> {
    running.splice(running.indexOf(source), 1);
    await source.stop();
  }

  async function startProcess(settings: KafkaSettings): Promise<ReturnType<typeof fork>> {
    const path = fileURLToPath(compiledModule(import.meta.url, './kafka-consumer-process.ts'));
    const child = fork(path, [databaseUrl, blobFolder, JSON.stringify(settings)]);
    children.push(child);
    await once(child, 'message');
    return child;
  }

  async function produce(topic: string, values: readonly unknown[], partitions = 1): Promise<void> {
    for (let from = 0; from < values.length; from += 1_000) {
      const messages = values.slice(from, from + 1_000).map((value, i) => ({
        topic,
        partition: (from + i) % partitions,
        key: String(from + i),
        value: typeof value === 'string' ? value : JSON.stringify(value),
      }));
      await producer.send({ messages: messages as Parameters<typeof producer.send>[0]['messages'], acks: -1 });
    }
  }

  async function idsOf(source: string): Promise<string[]> {
    const events = await readBuffer(database.db, { source, afterSeq: 0, limit: 100_000 });
    return events.map(({ row }) => String(row['id']));
  }

  async function countOf(source: string): Promise<number> {
    const { rows } = await sql<{ events: number }>`
      select count(*) as events from event_buffer where source = ${source}`.execute(database.db);
    return rows[0]!.events;
  }

  /** The process that holds the topic's lock. */
  async function readerOf(topic: string): Promise<number | undefined> {
    const { rows } = await sql<{ name: string }>`
      select activity.application_name as name from pg_locks join pg_stat_activity as activity using (pid)
      where locktype = 'advisory' and granted and objid::int8 = hashtext(${topic})::int8 & 4294967295
        and activity.datname = current_database()`.execute(database.db);
    return rows[0] && Number(rows[0].name.split('-').at(-1));
  }

  async function offsetsOf(topic: string): Promise<number> {
    const { rows } = await sql<{ read: number }>`
      select coalesce(sum(next_offset), 0)::int8 as read from kafka_offset where topic = ${topic}`.execute(database.db);
    return rows[0]!.read;
  }

  test('becomes events, in the order of each partition', async () => {
    const settings = await aTopic('orders', 2);
    await produce('orders', range(0, 20).map(anOrder), 2);
    start(settings);
    await eventually('all are there', async () => (await countOf('orders')) === 20);
    const ids = (await idsOf('orders')).map(Number);
    for (const parity of [0, 1]) {
      const ofPartition = ids.filter((id) => id % 2 === parity);
      expect(ofPartition).toEqual(ofPartition.toSorted((a, b) => a - b));
    }
    await produce('orders', [anOrder(20)]);
    await eventually('what comes later, too', async () => (await countOf('orders')) === 21);
  });

  test('sets records aside that break the contract, with partition and offset', async () => {
    const settings = await aTopic('broken');
    await produce('broken', [anOrder(1), '{"id": ', '[1]', { ...anOrder(2), total: 'much' }, undefined, anOrder(3)]);
    start(settings);
    await eventually('all are read', async () => (await offsetsOf('broken')) === 6);
    expect(await idsOf('broken')).toEqual(['1', '3']);
    const refused = await listRefusedRecords(database.db, 'broken', 10);
    expect(
      refused.map(({ topic, partition, offset, reasons }) => [topic, partition, offset, reasons[0]!.code]),
    ).toEqual([
      ['broken', 0, 4, 'VALUE_MISSING'],
      ['broken', 0, 3, 'COLUMN_TYPE'],
      ['broken', 0, 2, 'COLUMN_TYPE'],
      ['broken', 0, 1, 'COLUMN_TYPE'],
    ]);
    expect(refused[1]).toMatchObject({ value: expect.stringContaining('"much"'), reasons: [{ column: 'total' }] });
    expect(await registry.metrics()).toMatch(/serin_kafka_records_total\{topic="broken",outcome="refused"\} 4/);
  });

  test('has each record once, however often its consumer is killed while it reads', async () => {
    const settings = await aTopic('killed', 3);
    const records = 12_000;
    const kills = 4;
    // one of them reads, the others wait for it to die
    const consumers = await Promise.all(range(0, kills + 1).map(() => startProcess(settings)));
    const produced = produce('killed', range(0, records).map(anOrder), 3);
    for (const round of range(0, kills)) {
      const threshold = 200 + round * 2_500;
      await eventually('it has read some', async () => (await countOf('killed')) >= threshold, 60_000);
      const reader = await eventually('one reads', async () => {
        const pid = await readerOf('killed');
        return consumers.find((each) => each.pid === pid);
      });
      const dead = once(reader, 'exit');
      reader.kill('SIGKILL');
      await dead;
    }
    await produced;
    await eventually('all are read', async () => (await offsetsOf('killed')) === records, 60_000);
    expect((await idsOf('killed')).map(Number).toSorted((a, b) => a - b)).toEqual(range(0, records));
    // a record that was taken in twice would have taken two numbers, and left one unused
    expect(await getLastSequence(database.db, 'killed')).toBe(records);
  });

  test('is read on by another process when the one that reads it dies', async () => {
    const settings = await aTopic('followed');
    const first = await startProcess(settings);
    await produce('followed', range(0, 10).map(anOrder));
    await eventually('the first one reads', async () => (await countOf('followed')) === 10);
    start(settings);
    first.kill('SIGKILL');
    await produce('followed', range(10, 20).map(anOrder));
    await eventually('the second one reads on', async () => (await countOf('followed')) === 20);
    expect(await getLastSequence(database.db, 'followed')).toBe(20);
  });

  test('is without the records of transactions that were aborted', async () => {
    const settings = await aTopic('transactional');
    const transactional = new Producer({
      clientId: 'transactional',
      bootstrapBrokers: [address],
      idempotent: true,
      transactionalId: 'tests',
      serializers: { key: text, value: text, headerKey: text, headerValue: text },
    });
    const send = async (id: number, end: 'commit' | 'abort'): Promise<void> => {
      const transaction = await transactional.beginTransaction();
      const messages = [{ topic: 'transactional', key: 'k', value: JSON.stringify(anOrder(id)) }];
      await transaction.send({ messages });
      await transaction[end]();
    };
    await send(1, 'commit');
    await send(2, 'abort');
    await send(3, 'commit');
    await transactional.close();
    start(settings);
    await eventually('the third is there', async () => (await idsOf('transactional')).includes('3'));
    expect(await idsOf('transactional')).toEqual(['1', '3']);
  });

  test('that is deleted and made anew is read from its beginning', async () => {
    const settings = await aTopic('remade');
    const first = start(settings);
    await produce('remade', range(0, 5).map(anOrder));
    await eventually('the old one is read', async () => (await countOf('remade')) === 5);
    await stop(first);
    await admin.deleteTopics({ topics: ['remade'] });
    await eventually('the name is free', async () => {
      await admin.createTopics({ topics: ['remade'], partitions: 1, replicas: 1 });
      return true;
    });
    registry = new Registry();
    start(settings);
    await eventually('the new one takes records', async () => {
      await produce('remade', [anOrder(4), anOrder(5)]);
      return true;
    });
    await eventually('its first records are read', async () => (await countOf('remade')) === 6);
    expect(await idsOf('remade')).toEqual(['0', '1', '2', '3', '4', '5']);
  });

  test('whose next records the broker has deleted is read on where there are some, and says what is lost', async () => {
    const settings = await aTopic('expired');
    const first = start(settings);
    await produce('expired', range(0, 5).map(anOrder));
    await eventually('some are read', async () => (await countOf('expired')) === 5);
    await stop(first);
    await produce('expired', range(5, 10).map(anOrder));
    await admin.deleteRecords({ topics: [{ name: 'expired', partitions: [{ partition: 0, offset: 8n }] }] });
    registry = new Registry();
    start(settings);
    await eventually('the rest is read', async () => (await countOf('expired')) === 7);
    expect(await idsOf('expired')).toEqual(['0', '1', '2', '3', '4', '8', '9']);
    expect(await registry.metrics()).toMatch(/serin_kafka_lost_records_total\{topic="expired"\} 3/);
  });

  test('is read on when its broker comes back', async () => {
    const settings = await aTopic('restarted');
    start(settings);
    await produce('restarted', range(0, 5).map(anOrder));
    await eventually('some are read', async () => (await countOf('restarted')) === 5);
    await broker!.kill();
    await broker!.restart();
    await produce('restarted', range(5, 10).map(anOrder));
    await eventually('the others, too', async () => (await countOf('restarted')) === 10, 60_000);
    expect(await getLastSequence(database.db, 'restarted')).toBe(10);
  });
});

function aSource(name: string): SourceSpec {
  const column = { nullable: false, pii: false, description: '' };
  return {
    name,
    description: '',
    owner: 'tests',
    columns: [
      { ...column, name: 'id', type: 'str' },
      { ...column, name: 'at', type: 'ts' },
      { ...column, name: 'total', type: 'i64' },
    ],
    eventAt: 'at',
    zone: null,
    availableAt: { op: 'column', name: 'at' },
    eventId: ['id'],
    freshnessSlaSeconds: 60,
  };
}

function anOrder(id: number): Record<string, unknown> {
  return { id: String(id), at: '2026-03-01T10:00:00Z', total: id };
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, i) => from + i);
}

function text(value: string | undefined): Buffer | undefined {
  return value === undefined ? undefined : Buffer.from(value);
}
