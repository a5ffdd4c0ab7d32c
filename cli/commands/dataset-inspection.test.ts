import { expect, test } from 'vitest';
import type { DatasetDiff, RowExplanation, SourceEvent } from '../../domain/features/dataset-explanation.ts';
import { showDiff, showRow } from './dataset-inspection.ts';

const output = { json: false, terminal: true, write: () => undefined, note: () => undefined };
const event = (seq: number, rest: Partial<SourceEvent> = {}): SourceEvent => ({
  source: 'orders',
  eventId: `id-${seq}`,
  seq,
  eventAt: 3_600e6,
  availableAt: 7_200e6,
  operation: 'put',
  ...rest,
});
const EVENT_LINES = [
  'EVENT  SOURCE  WHAT  HAPPENED                 KNOWN                    EVENT ID',
  '#8     orders  put   1970-01-01 01:00:00 UTC  1970-01-01 02:00:00 UTC  id-8',
];

test('a difference is told by column, with the events that made it', () => {
  const side = (digest: string, rows: number) => ({ digest, rows, knowledgeCut: { at: 0, seq: {} } });
  const diff: DatasetDiff = {
    before: side('9f86d081884c7d65', 4),
    after: side('60303ae22b998861', 6),
    common: 4,
    added: { rows: 2, samples: [5] },
    removed: { rows: 0, samples: [] },
    columns: [
      {
        column: 'orders__1h',
        changed: 1,
        samples: [{ row: 1, asOf: 7_300e6, before: 2, after: null, events: [event(8)], eventCount: 3 }],
      },
    ],
  };
  expect(showDiff(output, diff).split('\n')).toEqual([
    'before:       9f86d081884c, 4 rows',
    'after:        60303ae22b99, 6 rows',
    'rows in both: 4',
    'rows added:   2 (row 5, …)',
    'rows removed: 0',
    '',
    'orders__1h: 1 row',
    'row 1 as of 1970-01-01 02:01:40 UTC: 2 → null',
    ...EVENT_LINES,
    'and 2 more',
  ]);
  expect(showDiff(output, { ...diff, columns: [] })).toContain('no cell of the common rows differs');
});

test('a row is explained value by value, and one feature alone when it is named', () => {
  const explained: RowExplanation = {
    dataset: 'd',
    row: 7,
    asOf: 7_300e6,
    split: 'TRAIN',
    request: { customer: 'a', home: null },
    label: { name: 'bought', value: 1, status: 'VALUE', events: [] },
    features: [
      {
        kind: 'view',
        feature: 'orders__1h',
        value: 2,
        view: 'orders@1',
        status: 'present',
        window: { start: 3_500e6, end: 7_300e6 },
        count: 2,
        events: [event(8)],
        first: event(3),
        leftOut: [
          { event: event(2), because: 'superseded', by: event(8) },
          { event: event(4), because: 'filtered', by: null },
        ],
      },
      { kind: 'derived', feature: 'half', value: 1, reads: { orders__1h: 2 } },
    ],
  };
  const lines = showRow(output, explained, undefined).split('\n');
  expect(lines).toEqual([
    'row:     7',
    'as of:   1970-01-01 02:01:40 UTC',
    'split:   TRAIN',
    'request: customer a, home null',
    'bought:  1 (VALUE)',
    '',
    'orders__1h: 2 (present), of orders@1: 2 events after 1970-01-01 00:58:20 UTC, until 1970-01-01 02:01:40 UTC',
    ...EVENT_LINES,
    'and 1 older, the first #3 at 1970-01-01 01:00:00 UTC',
    'without #2 (event 1970-01-01 01:00:00 UTC): superseded by #8, known 1970-01-01 02:00:00 UTC',
    'without #4 (event 1970-01-01 01:00:00 UTC): its condition does not hold',
    '',
    'half: 1, from orders__1h 2',
  ]);
  expect(showRow(output, explained, 'half')).not.toContain('orders@1');
  expect(() => showRow(output, explained, 'third')).toThrow(
    'the dataset has no feature "third"; it has orders__1h, half',
  );
});
