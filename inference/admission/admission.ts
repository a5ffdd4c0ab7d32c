import { SerinError } from '../../domain/errors.ts';
import type { Config } from '../../platform/config.ts';
import type { MicroBatcher, QueuedWork } from '../batching/micro-batcher.ts';
import type { Backpressure } from './backpressure.ts';
import type { BodyMemory } from './body-memory.ts';
import type { CostBook } from './cost-book.ts';
import { BACKGROUND, NORMAL, type Priority, readPriority } from './priority.ts';
import type { Refusal, RefusalReason } from './refusal.ts';
import { TokenBuckets } from './token-buckets.ts';

/** What is known of a request when it comes; written into the request itself, which costs no object. */
export interface Ticket {
  /** By `performance.now()`. */
  arrivedMs: number;
  /** When it must be answered; Infinity: no bound. */
  deadlineMs: number;
  priority: Priority;
}

/** A request as far as it has come: its headers, and where it is from. */
export interface Asker {
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
  readonly socket: { readonly remoteAddress?: string | undefined };
}

export interface AdmissionOptions {
  /** Of each client, per process; null: no limit. */
  readonly clientRate: { readonly rate: number; readonly burst: number } | null;
  readonly onRefused: (reason: RefusalReason) => void;
  /** Told of what comes and of what is refused; absent: refusing may take what it takes. */
  readonly backpressure?: Pick<Backpressure, 'arrived' | 'refused'>;
  /** Absent: bodies may take what they take. */
  readonly bodies?: Pick<BodyMemory, 'hold' | 'letGo'>;
}

/** Requests of one kind: what they cost, and by when the contract of a model wants them answered. */
export interface Kind {
  readonly costs: CostBook;
  /** Where requests for a model wait; undefined: there is no such model, which is said elsewhere. */
  readonly batcherOf: (model: string) => Pick<MicroBatcher<QueuedWork>, 'read' | 'refusalOf'> | undefined;
  /** Milliseconds from the arrival; null: no bound. */
  readonly deadlineMsOf: (model: string) => number | null;
}

/** Where requests of one kind come in. */
export interface Door {
  /**
   * Decides on a request before its body is read. Refusals are counted.
   * @param ticket is filled in
   * @returns null: it may go on
   * @throws SerinError INPUT_INVALID for a header that is none
   */
  admit(ticket: Ticket, asker: Asker, model: string, nowMs: number): Refusal | null;
  /** Counts the rows of a request against its client's rate, but for the first, which `admit` has counted. */
  charge(asker: Asker, rows: number): void;
  /** Room for a piece of a body, or for all of it; refusals are counted. @returns null: the bytes are held until `letGo` */
  hold(bytes: number): Refusal | null;
  letGo(bytes: number): void;
}

const MAX_DEADLINE_MS = 3_600_000;
const MAX_CLIENTS = 10_000;

/**
 * Decides on a request before its body is read, by what its headers say: whether its client is over its rate, whether the
 * queue has room for it, and whether it could be answered by its deadline.
 */
export class Admission {
  readonly #options: AdmissionOptions;
  readonly #buckets: TokenBuckets | null;

  constructor(options: AdmissionOptions) {
    this.#options = options;
    this.#buckets =
      options.clientRate === null ? null : new TokenBuckets({ ...options.clientRate, maxClients: MAX_CLIENTS });
  }

  doorFor(kind: Kind): Door {
    return {
      admit: (ticket, asker, model, nowMs) => this.#admit(kind, ticket, asker, model, nowMs),
      charge: (asker, rows) => {
        if (this.#buckets !== null && rows > 1) this.#buckets.charge(clientOf(asker), rows - 1, performance.now());
      },
      hold: (bytes) => {
        const refusal = this.#options.bodies?.hold(bytes) ?? null;
        if (refusal !== null) this.#options.onRefused(refusal.reason);
        return refusal;
      },
      letGo: (bytes) => this.#options.bodies?.letGo(bytes),
    };
  }

  #admit(kind: Kind, ticket: Ticket, asker: Asker, model: string, nowMs: number): Refusal | null {
    const { headers, socket } = asker;
    const { backpressure, onRefused } = this.#options;
    const sentMs = backpressure === undefined ? nowMs : backpressure.arrived(socket, nowMs);
    const given = headers['x-serin-priority'];
    const priority = given === undefined ? NORMAL : readPriority(given);
    const own = headers['x-serin-deadline-ms'];
    // nobody waits for background work: it has until its client gives up
    const contractMs = priority === BACKGROUND ? null : kind.deadlineMsOf(model);
    ticket.arrivedMs = sentMs;
    ticket.priority = priority;
    ticket.deadlineMs = sentMs + Math.min(own === undefined ? Infinity : readDeadline(own), contractMs ?? Infinity);
    const batcher = kind.batcherOf(model);
    batcher?.read(nowMs);
    const refusal =
      this.#rateRefusal(asker, nowMs) ??
      batcher?.refusalOf(1, priority, ticket.deadlineMs, kind.costs.find(model), nowMs) ??
      null;
    if (refusal !== null) {
      onRefused(refusal.reason);
      if (refusal.reason !== 'client') backpressure?.refused(socket, sentMs, nowMs);
    }
    return refusal;
  }

  #rateRefusal(asker: Asker, nowMs: number): Refusal | null {
    if (this.#buckets === null) return null;
    const waitMs = this.#buckets.take(clientOf(asker), nowMs);
    if (waitMs === 0) return null;
    return {
      reason: 'client',
      detail: `the client is over its rate of ${this.#options.clientRate!.rate} rows a second; there is room again in ${Math.ceil(waitMs)} ms`,
      retryAfterMs: waitMs,
    };
  }
}

/** @returns what one of `inferenceProcesses` processes behind the port allows; null: no limit */
export function clientRateOf({
  inferenceClientRate: rate = 0,
  inferenceClientBurst: burst = 0,
  inferenceProcesses: processes = 1,
}: Partial<
  Pick<Config, 'inferenceClientRate' | 'inferenceClientBurst' | 'inferenceProcesses'>
>): AdmissionOptions['clientRate'] {
  if (rate === 0) return null;
  return { rate: rate / processes, burst: Math.max(1, (burst || rate) / processes) };
}

/** Who asks: a key it shows, else a name it gives itself, else where it comes from. */
function clientOf({ headers, socket }: Asker): string {
  const key = headers['authorization'] ?? headers['x-api-key'];
  if (key !== undefined) return `key ${String(key)}`;
  const name = headers['x-serin-client'];
  return name === undefined ? `address ${socket.remoteAddress ?? ''}` : `name ${String(name)}`;
}

function readDeadline(text: string | readonly string[]): number {
  const ms = typeof text === 'string' && /^\d{1,7}(\.\d{1,6})?$/.test(text) ? Number(text) : NaN;
  if (ms > 0 && ms <= MAX_DEADLINE_MS) return ms;
  throw new SerinError(
    'INPUT_INVALID',
    `x-serin-deadline-ms is "${String(text).slice(0, 64)}", expected milliseconds above 0 and up to ${MAX_DEADLINE_MS}`,
    { fields: { field: 'x-serin-deadline-ms' } },
  );
}
