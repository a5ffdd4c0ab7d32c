/** A batcher under an open load in simulated time, for tests of what it does when more is asked than can be computed. */
import { Admission, type Ticket } from '../admission/admission.ts';
import { CostBook } from '../admission/cost-book.ts';
import { NORMAL, type Priority, PRIORITIES } from '../admission/priority.ts';
import { MicroBatcher, type QueuedWork } from './micro-batcher.ts';

export interface SimulatedLoad {
  /** Requests of one row a second, evenly spaced; the classes in turn. */
  readonly perSecond: number;
  readonly seconds: number;
  readonly deadlineMs: number;
  readonly priorities?: readonly Priority[];
}

export interface SimulatedServer {
  /** T(n) of a batch, milliseconds, before noise. */
  readonly fixedMs: number;
  readonly perRowMs: number;
  /** What reading, and refusing, one request takes. */
  readonly readMs: number;
  /** Each batch takes up to this much more, as a share. */
  readonly noise: number;
  /** A pause (a collected heap, another process) of this length, once in so many batches. */
  readonly pause?: { readonly ms: number; readonly everyBatches: number };
  /** Others take the processor away: for `ms` at the mean, after `everyMs` of work at the mean. */
  readonly stalls?: { readonly ms: number; readonly everyMs: number };
}

export interface SimulatedOutcome {
  /** Answered by their deadline, a second. */
  readonly goodPerSecond: number;
  /** From when it was sent, answered ones. */
  readonly answeredMsP99: number;
  readonly refused: number;
  readonly refusedMsP99: number;
  /** Refused when their turn came. */
  readonly late: number;
  readonly goodByPriority: Readonly<Record<string, number>>;
}

interface Sent extends QueuedWork {
  readonly sentMs: number;
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

export async function simulate(server: SimulatedServer, load: SimulatedLoad): Promise<SimulatedOutcome> {
  const clock = { ms: 0 };
  const costs = new CostBook();
  const cost = costs.of('model');
  const answered: {
    readonly ms: number;
    readonly atMs: number;
    readonly inTime: boolean;
    readonly priority: Priority;
  }[] = [];
  const refusedMs: number[] = [];
  const { priorities = [NORMAL] } = load;
  const total = Math.floor(load.perSecond * load.seconds);
  const spacingMs = 1_000 / load.perSecond;
  let sent = 0;
  let batches = 0;
  let late = 0;
  let seed = 1;
  const random = (): number => {
    seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fffffff;
    return seed / 0x7fffffff;
  };
  const exponential = (mean: number): number => -Math.log(1 - random() * 0.999) * mean;
  let untilStallMs = server.stalls === undefined ? Infinity : exponential(server.stalls.everyMs);
  const work = (ms: number): void => {
    clock.ms += ms;
    for (untilStallMs -= ms; untilStallMs < 0; untilStallMs += exponential(server.stalls!.everyMs))
      clock.ms += exponential(server.stalls!.ms);
  };

  const batcher = new MicroBatcher<Sent>({
    limits: { maxBatchRows: 512, maxQueueRows: 16_384 },
    nowMs: () => clock.ms,
    onRefused: ({ sentMs }, { reason }) => {
      if (reason === 'late') late++;
      refusedMs.push(clock.ms - sentMs);
    },
    run: (batch) => {
      work((server.fixedMs + server.perRowMs * batch.length) * (1 + random() * server.noise));
      if (server.pause !== undefined && ++batches % server.pause.everyBatches === 0) clock.ms += server.pause.ms;
      for (const { sentMs, deadlineMs, priority } of batch)
        answered.push({ ms: clock.ms - sentMs, atMs: clock.ms, inTime: clock.ms <= deadlineMs, priority });
      // what came meanwhile is read before the next batch is made up
      setImmediate(readArrivals);
      return Promise.resolve();
    },
  });
  const door = new Admission({ clientRate: null, onRefused: () => undefined }).doorFor({
    costs,
    batcherOf: () => batcher,
    deadlineMsOf: () => load.deadlineMs,
  });

  function readArrivals(): void {
    for (; sent < total && sent * spacingMs <= clock.ms; sent++) {
      const sentMs = sent * spacingMs;
      const priority = priorities[sent % priorities.length]!;
      work(server.readMs);
      const ticket: Ticket = { arrivedMs: 0, deadlineMs: 0, priority };
      const asker = { headers: { 'x-serin-priority': PRIORITIES[priority] }, socket: {} };
      if (door.admit(ticket, asker, 'model', clock.ms) !== null) {
        refusedMs.push(clock.ms - sentMs);
        continue;
      }
      try {
        batcher.submit({ rows: 1, sentMs, ...ticket, cost, reject: () => undefined });
      } catch {
        // counted by onRefused
      }
    }
  }

  while (sent < total || batcher.queuedRows > 0) {
    if (batcher.queuedRows === 0) clock.ms = Math.max(clock.ms, sent * spacingMs);
    readArrivals();
    await turn();
  }
  await batcher.whenIdle();
  // what is left in the queue at the end is not counted
  const good = answered.filter(({ inTime, atMs }) => inTime && atMs <= load.seconds * 1_000);
  return {
    goodPerSecond: good.length / load.seconds,
    answeredMsP99: quantile(
      answered.map(({ ms }) => ms),
      0.99,
    ),
    refused: refusedMs.length,
    refusedMsP99: quantile(refusedMs, 0.99),
    late,
    goodByPriority: Object.fromEntries(
      PRIORITIES.map((name, at) => [name, good.filter(({ priority }) => priority === at).length / load.seconds]),
    ),
  };
}

function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
}
