import fc from 'fast-check';
import { expect, test } from 'vitest';
import { CostModel } from '../admission/cost-model.ts';
import { BACKGROUND, INTERACTIVE, NORMAL, type Priority } from '../admission/priority.ts';
import { type BatcherLimits, MicroBatcher, type QueuedWork } from './micro-batcher.ts';

interface Piece extends QueuedWork {
  readonly name: string;
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const overloaded = (reason: string) =>
  expect.objectContaining({ code: 'OVERLOADED', fields: expect.objectContaining({ reason }) });

/** A batcher on a clock that the test moves, whose batches end when the test says so. */
function aBatcher(limits: BatcherLimits = { maxBatchRows: 4, maxQueueRows: 8 }) {
  const batches: string[][] = [];
  const refused: string[] = [];
  const ends: (() => void)[] = [];
  const clock = { ms: 0 };
  const cost = new CostModel();
  const batcher = new MicroBatcher<Piece>({
    run: (batch) => {
      batches.push(batch.map(({ name }) => name));
      return new Promise<void>((resolve) => ends.push(resolve));
    },
    limits,
    onRefused: ({ name }, { reason }) => refused.push(`${name}: ${reason}`),
    nowMs: () => clock.ms,
  });
  const submit = (name: string, rows = 1, overrides: Partial<QueuedWork> = {}): void =>
    batcher.submit({ name, rows, priority: NORMAL, deadlineMs: Infinity, cost, reject: () => undefined, ...overrides });
  /** @param tookMs how far the clock has moved meanwhile */
  const endBatch = async (tookMs = 0): Promise<void> => {
    clock.ms += tookMs;
    ends.shift()!();
    await turn();
    await turn();
  };
  return { batcher, batches, refused, clock, cost, submit, endBatch };
}

/** A cost of `fixed + perRow · n` that is known. */
function knownCost(cost: CostModel, fixed: number, perRow: number, nowMs = 0): void {
  for (let n = 1; n <= 300; n++) cost.observe(1 + (n % 50), fixed + perRow * (1 + (n % 50)), nowMs);
}

test('what arrives while a batch runs becomes the next batch, up to its rows', async () => {
  const { batches, submit, endBatch } = aBatcher();
  submit('a');
  await turn();
  for (const name of ['b', 'c', 'd']) submit(name, 2);
  expect(batches).toEqual([['a']]);
  await endBatch();
  expect(batches).toEqual([['a'], ['b', 'c']]);
  await endBatch();
  expect(batches).toEqual([['a'], ['b', 'c'], ['d']]);
});

test('a turn of the event loop in which requests are read and read does not keep the next batch waiting', async () => {
  const { batcher, batches, clock, submit, endBatch } = aBatcher();
  submit('a');
  await turn();
  submit('b');
  await endBatch();
  void endBatch();
  submit('c');
  // before the next turn: c is due, and other requests are read
  await Promise.resolve();
  for (clock.ms = 0; clock.ms <= 2; clock.ms++) {
    batcher.read(clock.ms);
    await Promise.resolve();
  }
  expect(batches).toEqual([['a'], ['b']]);
  batcher.read(clock.ms);
  await Promise.resolve();
  await Promise.resolve();
  expect(batches).toEqual([['a'], ['b'], ['c']]);
});

test('a piece larger than a batch goes alone', async () => {
  const { batches, submit } = aBatcher();
  submit('large', 7);
  submit('small');
  await turn();
  expect(batches).toEqual([['large']]);
});

test('beyond the bound in rows work is refused, and taken again once there is room', async () => {
  const { batcher, submit, endBatch } = aBatcher();
  submit('a');
  await turn();
  submit('b', 5);
  submit('c', 3);
  expect(() => submit('d')).toThrowError(overloaded('queue'));
  await endBatch();
  submit('d');
  expect(batcher.queuedRows).toBe(4);
});

test('it is idle when all work has been answered', async () => {
  const { batcher, batches, submit, endBatch } = aBatcher();
  submit('a');
  await turn();
  submit('b');
  const idle = batcher.whenIdle();
  await endBatch();
  await endBatch();
  await idle;
  expect(batches).toEqual([['a'], ['b']]);
});

test('what was submitted has passed when it is answered, whatever more urgent work came later', async () => {
  const { batcher, batches, clock, submit, endBatch } = aBatcher({ maxBatchRows: 1, maxQueueRows: 100 });
  submit('a');
  await turn();
  submit('old', 1, { priority: BACKGROUND });
  let passed = false;
  const passing = batcher.whenPassed().then(() => (passed = true));
  clock.ms = 1;
  submit('new', 1, { priority: INTERACTIVE });
  await endBatch();
  await endBatch();
  expect([batches.flat(), passed]).toEqual([['a', 'new', 'old'], false]);
  await endBatch();
  await passing;
});

test('more urgent classes go first, in the order they came within a class', async () => {
  const { batches, submit, endBatch } = aBatcher({ maxBatchRows: 3, maxQueueRows: 100 });
  submit('a');
  await turn();
  submit('b1', 1, { priority: BACKGROUND });
  submit('n1');
  submit('b2', 1, { priority: BACKGROUND });
  submit('i1', 1, { priority: INTERACTIVE });
  submit('n2');
  submit('i2', 1, { priority: INTERACTIVE });
  await endBatch();
  await endBatch();
  expect(batches).toEqual([['a'], ['i1', 'i2', 'n1'], ['n2', 'b1', 'b2']]);
});

test('background work is taken up to a quarter of the queue, and gives its room to more urgent work', async () => {
  const { batcher, refused, submit } = aBatcher({ maxBatchRows: 1, maxQueueRows: 8 });
  submit('running');
  await turn();
  submit('b1', 1, { priority: BACKGROUND });
  submit('b2', 1, { priority: BACKGROUND });
  expect(() => submit('b3', 1, { priority: BACKGROUND })).toThrowError(overloaded('priority'));
  submit('n', 6);
  submit('i', 1, { priority: INTERACTIVE });
  expect(refused).toEqual(['b3: priority', 'b2: priority']);
  submit('n2');
  expect(refused).toEqual(['b3: priority', 'b2: priority', 'b1: priority']);
  expect(() => submit('n3')).toThrowError(overloaded('queue'));
  expect(batcher.queuedRows).toBe(8);
});

test('a deadline that the queue before it would not keep is refused at once, with what it would take', async () => {
  const { cost, submit } = aBatcher({ maxBatchRows: 8, maxQueueRows: 100 });
  knownCost(cost, 2, 1);
  submit('running');
  await turn();
  for (let i = 0; i < 8; i++) submit(`queued ${i}`);
  // 3 ms of the batch that runs, 2 + 8 of what is queued, 2 + 1 of its own; waits with a quarter to spare
  submit('in time', 1, { deadlineMs: 24 });
  expect(() => submit('late', 1, { deadlineMs: 15 })).toThrowError(overloaded('deadline'));
  expect(() => submit('late', 1, { deadlineMs: 15 })).toThrowError(
    /answered in about \d+ ms, its deadline is in 15 ms/,
  );
});

test('nothing is refused by an estimate that is old, so that a server which refuses everything learns', () => {
  const { clock, cost, submit } = aBatcher();
  knownCost(cost, 50, 1);
  expect(() => submit('late', 1, { deadlineMs: clock.ms + 10 })).toThrowError(overloaded('deadline'));
  clock.ms = 5_000;
  submit('tried', 1, { deadlineMs: clock.ms + 10 });
});

test('work whose deadline has passed in the queue is refused and not computed, also in a class that is never reached', async () => {
  const { batches, refused, clock, submit, endBatch } = aBatcher({ maxBatchRows: 1, maxQueueRows: 100 });
  submit('running');
  await turn();
  submit('late', 1, { deadlineMs: 5 });
  submit('background', 1, { deadlineMs: 5, priority: BACKGROUND });
  submit('patient');
  submit('urgent', 1, { priority: INTERACTIVE });
  clock.ms = 10;
  await endBatch();
  expect([batches, refused]).toEqual([
    [['running'], ['urgent']],
    ['late: late', 'background: late'],
  ]);
});

test('work without a deadline is not kept waiting longer than half a minute', async () => {
  const { refused, clock, submit, endBatch } = aBatcher({ maxBatchRows: 1, maxQueueRows: 100 });
  submit('running');
  await turn();
  submit('forgotten');
  clock.ms = 30_001;
  await endBatch();
  expect(refused).toEqual(['forgotten: late']);
});

test('a batch is cut so that the tightest deadline in it is kept', async () => {
  const { batches, cost, submit, endBatch } = aBatcher({ maxBatchRows: 64, maxQueueRows: 100 });
  knownCost(cost, 4, 1);
  submit('running');
  await turn();
  submit('tight', 1, { deadlineMs: 19 });
  for (let i = 0; i < 19; i++) submit(`patient ${i}`);
  await endBatch(5);
  // from 5 ms on: 4 fixed and one a row leave room for ten rows before 19 ms; without the deadline there were sixteen
  expect(batches.map((batch) => batch.length)).toEqual([1, 10]);
});

test('batches of an expensive model are short, so that arrivals are heard in between', async () => {
  const { batches, cost, submit } = aBatcher({ maxBatchRows: 64, maxQueueRows: 100 });
  knownCost(cost, 0, 0.5);
  for (let i = 0; i < 20; i++) submit(`${i}`);
  await turn();
  expect(batches[0]).toHaveLength(4);
});

test('the batches of two models in one queue teach each its own cost', async () => {
  const clock = { ms: 0 };
  const [cheap, dear] = [new CostModel(), new CostModel()];
  const batcher = new MicroBatcher<QueuedWork>({
    run: (batch) => {
      for (const { cost, rows } of batch) clock.ms += rows * (cost === dear ? 1 : 0.01);
      return Promise.resolve();
    },
    limits: { maxBatchRows: 32, maxQueueRows: 10_000 },
    nowMs: () => clock.ms,
  });
  const piece = (cost: CostModel): QueuedWork => ({
    rows: 1,
    priority: NORMAL,
    deadlineMs: Infinity,
    cost,
    reject: () => undefined,
  });
  for (let round = 0; round < 200; round++) {
    for (let i = 0; i <= round % 7; i++) batcher.submit(piece(round % 3 === 0 ? dear : cheap));
    if (round % 5 === 0) batcher.submit(piece(cheap));
    await batcher.whenIdle();
  }
  expect(dear.estimateMs(4)).toBeCloseTo(4, 0);
  expect(cheap.estimateMs(4)).toBeLessThan(0.4);
});

interface Arrival {
  readonly rows: number;
  readonly priority: Priority;
  readonly deadlineInMs: number;
  readonly afterMs: number;
}

const arrivals = fc.array(
  fc.record<Arrival>({
    rows: fc.integer({ min: 1, max: 9 }),
    priority: fc.constantFrom(INTERACTIVE, NORMAL, BACKGROUND),
    deadlineInMs: fc.oneof(fc.constant(Infinity), fc.integer({ min: 0, max: 40 })),
    afterMs: fc.integer({ min: 0, max: 4 }),
  }),
  { minLength: 1, maxLength: 80 },
);

test('in whatever order work comes: each piece is settled once, none is computed past its deadline, no class is out of order', async () => {
  await fc.assert(
    fc.asyncProperty(
      arrivals,
      fc.integer({ min: 1, max: 12 }),
      fc.integer({ min: 9, max: 60 }),
      async (given, maxBatchRows, maxQueueRows) => {
        const clock = { ms: 0 };
        const cost = new CostModel();
        const settled = new Map<number, string[]>();
        const told = (id: number, what: string): void => void settled.set(id, [...(settled.get(id) ?? []), what]);
        const computed: { id: number; priority: Priority }[] = [];
        const batcher = new MicroBatcher<QueuedWork & { readonly id: number }>({
          run: async (batch) => {
            const rows = batch.reduce((sum, work) => sum + work.rows, 0);
            expect(batch.length === 1 || rows <= maxBatchRows).toBe(true);
            for (const { id, priority, deadlineMs } of batch) {
              expect(deadlineMs).toBeGreaterThanOrEqual(clock.ms);
              computed.push({ id, priority });
              told(id, 'answered');
            }
            await turn();
            clock.ms += 1 + rows / 2;
          },
          limits: { maxBatchRows, maxQueueRows },
          nowMs: () => clock.ms,
        });
        for (const [id, { rows, priority, deadlineInMs, afterMs }] of given.entries()) {
          clock.ms += afterMs;
          if (afterMs > 2) await turn();
          try {
            const deadlineMs = clock.ms + deadlineInMs;
            batcher.submit({ id, rows, priority, cost, deadlineMs, reject: () => told(id, 'refused') });
          } catch {
            told(id, 'refused');
          }
          expect(batcher.queuedRows).toBeLessThanOrEqual(Math.max(maxQueueRows, 9));
        }
        await batcher.whenIdle();
        given.forEach((_, id) => expect(settled.get(id)).toHaveLength(1));
        expect([batcher.queuedRows, batcher.estimatedWaitMs(BACKGROUND, cost, clock.ms)]).toEqual([0, 0]);
        for (const priority of [INTERACTIVE, NORMAL, BACKGROUND]) {
          const ids = computed.filter((each) => each.priority === priority).map(({ id }) => id);
          expect(ids).toEqual(ids.toSorted((a, b) => a - b));
        }
      },
    ),
  );
});
