import type { Kysely } from 'kysely';
import { type BufferedEvent, bufferEvents } from '../db/ingest.ts';
import type { Tables } from '../db/schema.ts';
import { SerinError } from '../domain/errors.ts';
import type { EventIndex } from '../domain/features/event-index.ts';

/** Events of one transaction, at most; a single larger push goes alone. */
const GROUP_MAX = 2_000;
/** Events that wait for the transaction before, of one source: about ten seconds of the highest rate. */
const WAITING_MAX = 50_000;

export interface Taken {
  readonly lastSeq: number;
  /** New among the push's events. */
  readonly added: number;
  /** Left out among them, because their keys were forgotten. */
  readonly forgotten: number;
}

/**
 * Takes pushed events into the buffer. Pushes to a source queue on its sequence anyway; those that come while a transaction
 * runs go into the next one together, so that their number sets the size of a transaction and not the length of a queue.
 */
export interface EventIntake {
  /** @throws OVERLOADED when too many events of the source wait */
  push(source: string, events: readonly BufferedEvent[]): Promise<Taken>;
}

interface Waiting {
  readonly events: readonly BufferedEvent[];
  readonly resolve: (taken: Taken) => void;
  readonly reject: (error: unknown) => void;
}

interface Queue {
  readonly waiting: Waiting[];
  events: number;
  running: boolean;
}

export function createEventIntake(db: Kysely<Tables>, index: EventIndex): EventIntake {
  const queues = new Map<string, Queue>();

  async function run(source: string, queue: Queue): Promise<void> {
    queue.running = true;
    while (queue.waiting.length > 0) {
      const group = nextGroup(queue);
      try {
        await takeIn(source, group);
      } catch (error) {
        if (group.length === 1) group[0]!.reject(error);
        // whatever is wrong with one of them is not the others' concern
        else for (const push of group) await takeIn(source, [push]).catch((reason: unknown) => push.reject(reason));
      }
    }
    queues.delete(source);
  }

  async function takeIn(source: string, group: readonly Waiting[]): Promise<void> {
    const events = group.flatMap((push) => push.events);
    const { lastSeq, versions, forgotten } = await db
      .transaction()
      .execute((tx) => bufferEvents(tx, source, events, index));
    const fresh = new Set(versions);
    // the same row in two pushes is new in the first
    for (const push of group) {
      push.resolve({
        lastSeq,
        added: push.events.filter(({ versionId }) => fresh.delete(versionId)).length,
        forgotten: push.events.filter((event) => forgotten.has(event)).length,
      });
    }
  }

  return {
    push(source, events) {
      let queue = queues.get(source);
      if (queue === undefined) queues.set(source, (queue = { waiting: [], events: 0, running: false }));
      if (queue.events > 0 && queue.events + events.length > WAITING_MAX) {
        throw new SerinError('OVERLOADED', `${queue.events} events of ${source} wait to be stored; push again later`);
      }
      const taken = new Promise<Taken>((resolve, reject) => {
        queue.waiting.push({ events, resolve, reject });
        queue.events += events.length;
      });
      if (!queue.running) void run(source, queue);
      return taken;
    },
  };
}

function nextGroup(queue: Queue): Waiting[] {
  let count = 0;
  let events = 0;
  for (const push of queue.waiting) {
    if (count > 0 && events + push.events.length > GROUP_MAX) break;
    count++;
    events += push.events.length;
  }
  queue.events -= events;
  return queue.waiting.splice(0, count);
}
