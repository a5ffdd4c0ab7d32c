import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { SerinError } from '../../../domain/errors.ts';
import type { checkConsistency } from '../../../workflows/check-consistency.ts';
import { type CheckConsistencyResult, consistencyQuery, TASK_QUEUE_CONTROL } from '../../../workflows/messages.ts';
import { eventually, within } from '../../setup/eventually.ts';
import { exchangeableActivities, fakeActivities } from './fake-activities.ts';
import { startTemporalFixture, type TemporalFixture } from './temporal-fixture.ts';

let temporal: TemporalFixture;
const world = exchangeableActivities();

beforeAll(async () => {
  temporal = await startTemporalFixture();
  await temporal.startWorkers(world.activities);
});
afterEach(() => temporal.endWorkflows());
afterAll(() => temporal.stop());

const found = (overrides: Partial<CheckConsistencyResult> = {}): CheckConsistencyResult => ({
  windowEnd: 5,
  checkable: 9,
  checked: 9,
  mismatches: 0,
  sentence: 'the features of 9 logged answers are those of the log',
  ...overrides,
});

let started = 0;
const start = (input: Parameters<typeof checkConsistency>[0]) =>
  temporal.client.workflow.start<typeof checkConsistency>('checkConsistency', {
    workflowId: `consistency/${(started += 1)}`,
    taskQueue: TASK_QUEUE_CONTROL,
    args: [input],
  });

test('a check looks at the last hour, after all that was pushed has gone into the log', async () => {
  const fake = world.exchange(
    fakeActivities({
      getConsistencyPlan: () =>
        Promise.resolve({
          sources: [
            { source: 'flights', lastSeq: 7 },
            { source: 'silent', lastSeq: 0 },
          ],
        }),
      checkConsistency: () => Promise.resolve(found({ mismatches: 2, sentence: 'two differ' })),
    }),
  );
  const handle = await start({ model: 'delay' });
  expect(await within('the check ends', handle.result())).toMatchObject({ mismatches: 2, sentence: 'two differ' });
  expect(fake.calls.map(({ name }) => name)).toEqual(['getConsistencyPlan', 'ingestBatch', 'checkConsistency']);
  expect(fake.of('ingestBatch')).toEqual([
    { source: 'flights', batchId: 'pushed-7', input: { kind: 'pushed', upToSeq: 7 } },
  ]);
  expect(fake.of('checkConsistency')).toEqual([{ model: 'delay', after: null, windowMicros: 3_600_000_000 }]);
});

test('a watch goes on from the end of its last look, and survives one that fails', async () => {
  let looks = 0;
  const fake = world.exchange(
    fakeActivities({
      checkConsistency: ({ after }) => {
        looks += 1;
        if (looks === 2) return Promise.reject(new SerinError('BLOB_CORRUPT', 'a file of the log is damaged'));
        return Promise.resolve(found({ windowEnd: (after ?? 0) + 10 }));
      },
    }),
  );
  const handle = await start({ model: 'delay', everyMs: 1 });
  const status = await eventually('three looks', async () => {
    const now = await handle.query(consistencyQuery);
    return now.looks >= 3 && now;
  });
  expect(status).toMatchObject({ failure: null, last: { checked: 9 } });
  expect(
    fake
      .of('checkConsistency')
      .slice(0, 4)
      .map(({ after }) => after),
  ).toEqual([null, 10, 10, 20]);
});
