/** From what a broker sends to what the contract of a source makes of it. */
import type { Consumer, RecordsBatch } from '@platformatic/kafka';
import type { PartitionIntake, RefusedRecord } from '../db/kafka.ts';
import type { BufferedEvent } from '../db/ingest.ts';
import type { SourceContract } from '../db/source-contracts.ts';
import type { RowReason } from '../domain/features/row-contract.ts';
import type { Micros } from '../domain/time.ts';

/** What a broker answers; the package does not export the name of it. */
export type FetchResponse = Awaited<ReturnType<Consumer['fetch']>>;
type FetchedPartition = FetchResponse['responses'][number]['partitions'][number];

/** Bits of a batch's attributes, and the type of a control record that ends a transaction without effect. */
const IS_TRANSACTIONAL = 1 << 4;
const IS_CONTROL = 1 << 5;
const ABORT = 0;

const VALUE_CHARS_KEPT = 2_000;

/**
 * Checks the records of a partition from `fromOffset` on. Records of transactions that were aborted, and the markers that end
 * transactions, count as looked at.
 */
export function readPartition(
  { partitionIndex, records = [], abortedTransactions }: FetchedPartition,
  fromOffset: number,
  contract: SourceContract,
  clockAt: Micros,
): PartitionIntake {
  const events: { offset: number; event: BufferedEvent }[] = [];
  const refused: RefusedRecord[] = [];
  let nextOffset = fromOffset;
  for (const { batch, isAborted } of withAborted(records, abortedTransactions)) {
    const firstOffset = Number(batch.firstOffset);
    nextOffset = Math.max(nextOffset, firstOffset + batch.lastOffsetDelta + 1);
    if (isAborted || (batch.attributes & IS_CONTROL) !== 0) continue;
    for (const { offsetDelta, value } of batch.records) {
      const offset = firstOffset + offsetDelta;
      // a batch is sent whole, also when it is asked for from its middle
      if (offset < fromOffset) continue;
      const admission = admit(value, contract, clockAt);
      if (admission.ok) events.push({ offset, event: admission.event });
      else refused.push({ offset, reasons: admission.reasons, value: shown(value) });
    }
  }
  return { partition: partitionIndex, fromOffset, nextOffset, events, refused };
}

/**
 * A producer's records belong to an aborted transaction from the offset that the broker names up to the producer's next abort
 * marker, which may lie beyond what was fetched.
 */
function* withAborted(
  batches: readonly RecordsBatch[],
  aborted: FetchedPartition['abortedTransactions'],
): Generator<{ batch: RecordsBatch; isAborted: boolean }> {
  const ahead = aborted.toSorted((a, b) => Number(a.firstOffset - b.firstOffset));
  const open = new Set<bigint>();
  for (const batch of batches) {
    const lastOffset = batch.firstOffset + BigInt(batch.lastOffsetDelta);
    while (ahead.length > 0 && ahead[0]!.firstOffset <= lastOffset) open.add(ahead.shift()!.producerId);
    if ((batch.attributes & IS_CONTROL) !== 0) {
      if (batch.records[0]?.key?.readInt16BE(2) === ABORT) open.delete(batch.producerId);
      yield { batch, isAborted: false };
    } else {
      yield { batch, isAborted: (batch.attributes & IS_TRANSACTIONAL) !== 0 && open.has(batch.producerId) };
    }
  }
}

const utf8 = new TextDecoder('utf-8', { fatal: true });

function admit(value: Buffer | null, contract: SourceContract, clockAt: Micros): ReturnType<SourceContract['admit']> {
  const refuse = (rule: string): { ok: false; reasons: RowReason[] } => ({
    ok: false,
    reasons: [{ code: value === null ? 'VALUE_MISSING' : 'COLUMN_TYPE', column: null, value: null, rule }],
  });
  if (value === null) return refuse('a record needs a value; what a record removes is said by its operation column');
  let event: unknown;
  try {
    event = JSON.parse(utf8.decode(value));
  } catch {
    return refuse('a record is one JSON object in UTF-8');
  }
  if (typeof event !== 'object' || event === null || Array.isArray(event)) {
    return refuse('a record is one JSON object in UTF-8');
  }
  return contract.admit(event as Record<string, unknown>, clockAt);
}

/** PostgreSQL stores no U+0000. */
function shown(value: Buffer | null): string | null {
  return value === null ? null : value.toString('utf8').slice(0, VALUE_CHARS_KEPT).replaceAll('\0', '\u{FFFD}');
}
