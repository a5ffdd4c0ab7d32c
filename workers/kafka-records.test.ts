import type { RecordsBatch } from '@platformatic/kafka';
import { expect, test } from 'vitest';
import { createSourceContract } from '../db/source-contracts.ts';
import type { SourceSpec } from '../domain/project/spec.ts';
import { type FetchResponse, readPartition } from './kafka-records.ts';

type FetchedPartition = FetchResponse['responses'][number]['partitions'][number];

const column = { nullable: false, pii: false, description: '' };
const SOURCE: SourceSpec = {
  name: 'orders',
  description: '',
  owner: 'tests',
  columns: [
    { ...column, name: 'id', type: 'str' },
    { ...column, name: 'at', type: 'ts' },
  ],
  eventAt: 'at',
  zone: null,
  availableAt: { op: 'column', name: 'at' },
  eventId: ['id'],
  freshnessSlaSeconds: 60,
};
const contract = createSourceContract(SOURCE, []);

const TRANSACTIONAL = 16;
const CONTROL = 32;

/** A batch with one record per value. */
function aBatch(
  firstOffset: number,
  values: readonly (string | Buffer | null)[],
  overrides: Partial<RecordsBatch> = {},
): RecordsBatch {
  return {
    firstOffset: BigInt(firstOffset),
    length: 0,
    partitionLeaderEpoch: 0,
    magic: 2,
    crc: 0,
    attributes: 0,
    lastOffsetDelta: values.length - 1,
    firstTimestamp: 0n,
    maxTimestamp: 0n,
    producerId: 7n,
    producerEpoch: 0,
    firstSequence: 0,
    records: values.map((value, offsetDelta) => ({
      length: 0,
      attributes: 0,
      timestampDelta: 0n,
      offsetDelta,
      key: null,
      value: typeof value === 'string' ? Buffer.from(value) : value,
      headers: [],
    })),
    ...overrides,
  };
}

function aMarker(offset: number, end: 'abort' | 'commit', producerId = 7n): RecordsBatch {
  const key = Buffer.from([0, 0, 0, end === 'abort' ? 0 : 1]);
  const batch = aBatch(offset, [null], { attributes: TRANSACTIONAL | CONTROL, producerId });
  return { ...batch, records: [{ ...batch.records[0]!, key }] };
}

function aPartition(
  records: RecordsBatch[],
  abortedTransactions: FetchedPartition['abortedTransactions'] = [],
): FetchedPartition {
  return {
    partitionIndex: 0,
    errorCode: 0,
    highWatermark: 100n,
    lastStableOffset: 100n,
    logStartOffset: 0n,
    abortedTransactions,
    preferredReadReplica: -1,
    records,
  };
}

function order(id: number): string {
  return JSON.stringify({ id: String(id), at: '2026-03-01T00:00:00Z' });
}

function idsOf(partition: FetchedPartition, fromOffset = 0): { ids: unknown[]; nextOffset: number } {
  const { events, nextOffset } = readPartition(partition, fromOffset, contract, 1);
  return { ids: events.map(({ event }) => event.row['id']), nextOffset };
}

test('a batch that is asked for from its middle gives the records from there', () => {
  expect(idsOf(aPartition([aBatch(4, [order(4), order(5), order(6)])]), 5)).toEqual({ ids: ['5', '6'], nextOffset: 7 });
});

test('offsets that the broker compacted away are passed over', () => {
  const batch = aBatch(0, [order(0)], { lastOffsetDelta: 9 });
  expect(idsOf(aPartition([batch]))).toEqual({ ids: ['0'], nextOffset: 10 });
});

test('nothing fetched leaves the offset where it is', () => {
  const { records: _, ...empty } = aPartition([]);
  expect(idsOf(empty, 3)).toEqual({ ids: [], nextOffset: 3 });
});

test('an aborted transaction leaves nothing, also when its end lies beyond what was fetched', () => {
  const transactional = { attributes: TRANSACTIONAL };
  const other = { attributes: TRANSACTIONAL, producerId: 8n };
  const fetched = aPartition(
    [
      aBatch(0, [order(0)], transactional),
      aMarker(1, 'commit'),
      aBatch(2, [order(2)], transactional),
      aBatch(3, [order(3)], other),
      aMarker(4, 'abort'),
      aBatch(5, [order(5)], transactional),
      aBatch(6, [order(6)], transactional),
      aBatch(7, [order(7)]),
      aMarker(8, 'commit', 8n),
    ],
    [
      { producerId: 7n, firstOffset: 2n },
      { producerId: 7n, firstOffset: 6n },
    ],
  );
  expect(idsOf(fetched)).toEqual({ ids: ['0', '3', '5', '7'], nextOffset: 9 });
});

test('what is no JSON object in UTF-8 is refused with its offset and what came', () => {
  const values = [Buffer.from([0xff]), '"text"', 'nul\0', null, order(4)];
  const { refused, events, nextOffset } = readPartition(aPartition([aBatch(10, values)]), 10, contract, 1);
  expect(refused.map(({ offset, value, reasons }) => [offset, value, reasons[0]!.code])).toEqual([
    [10, '\u{FFFD}', 'COLUMN_TYPE'],
    [11, '"text"', 'COLUMN_TYPE'],
    [12, 'nul\u{FFFD}', 'COLUMN_TYPE'],
    [13, null, 'VALUE_MISSING'],
  ]);
  expect(events.map(({ offset }) => offset)).toEqual([14]);
  expect(nextOffset).toBe(15);
});
