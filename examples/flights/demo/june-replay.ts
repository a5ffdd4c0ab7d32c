import { Pool } from 'undici';
import { formatTime } from '../../../domain/features/time-text.ts';
import { MICROS_PER_MINUTE, type Micros } from '../../../domain/time.ts';
import type { Replay } from '../data.ts';
import { LatencyHistogram } from './latency-histogram.ts';
import type { PlatformClient } from './platform-client.ts';

const CONNECTIONS = 24;
/** Bodies of the API are bounded; a step of a busy hour is sent in parts. */
const EVENTS_PER_PUSH = 2_000;
const OUTCOMES_PER_POST = 5_000;
const SECONDS_PER_MINUTE = 60;

export interface ReplayOptions {
  readonly client: PlatformClient;
  readonly inferenceUrl: string;
  readonly model: string;
  readonly replay: Replay;
  readonly startAt: Micros;
  readonly endAt: Micros;
  /**
   * The replay advances by this much at a time; events are pushed one step ahead of the requests that may see them. At most
   * the hour that the online store's fold point stays behind the clock.
   */
  readonly stepMicros: number;
}

/** What one version answered, as its callers saw it. */
export interface VersionTally {
  requests: number;
  lastAnswerAtMs: number;
}

interface Prediction {
  readonly predictionId: string;
  readonly score: number;
  readonly version: number;
  readonly arm: string;
  readonly rung: string;
}

/**
 * Plays June again at an accelerated clock, through the public interfaces alone: flights that leave become prediction
 * requests in the order of their departure, events are pushed so that they become available when they would have, and each
 * prediction's outcome is posted when its flight has landed.
 */
export class JuneReplay {
  readonly #options: ReplayOptions;
  readonly #pool: Pool;
  readonly #path: string;
  readonly latency = new LatencyHistogram();
  readonly versions = new Map<number, VersionTally>();
  requests = 0;
  failures = 0;
  firstFailure: string | null = null;
  /** Answers by a rung below the assigned version. */
  fallbacks = 0;
  outcomes = 0;
  pushedEvents = 0;
  clockAt: Micros;

  #departed = 0;
  #landed = 0;
  #outcomesSent = 0;
  #reports = 0;
  #ratePerSecond = 1_500;
  #stopped = false;
  #reportsInSeconds = false;
  #wrongReportsFrom: Micros | null = null;
  /** It ended by an error, which `run` has thrown. */
  broken = false;
  /** Wall clock of the first answer of a canary that may rest on reports in seconds; null before it. */
  firstHarmfulAnswerAtMs: number | null = null;

  constructor(options: ReplayOptions) {
    this.#options = options;
    this.#pool = new Pool(options.inferenceUrl, { connections: CONNECTIONS, pipelining: 1 });
    this.#path = `/v1/models/${options.model}/predict`;
    this.clockAt = options.startAt;
  }

  /** Requests per second from now on; Infinity is as fast as it goes. */
  setRate(perSecond: number): void {
    this.#ratePerSecond = perSecond;
  }

  /**
   * The upstream team changes the unit of its reports from minutes to seconds, without telling anyone: from the next push on.
   * Only the features of version 4 read them.
   */
  changeUnitOfReports(): void {
    this.#reportsInSeconds = true;
  }

  stop(): void {
    this.#stopped = true;
  }

  get finished(): boolean {
    return this.clockAt >= this.#options.endAt;
  }

  /** Flights whose departure has not been asked about. */
  get flightsLeft(): number {
    return this.#options.replay.flights.departedAt.length - this.#departed;
  }

  /** Runs until June is over or `stop` is called. */
  async run(): Promise<void> {
    try {
      await this.#play();
    } catch (error) {
      this.broken = true;
      throw error;
    }
  }

  async #play(): Promise<void> {
    const { startAt, endAt, stepMicros } = this.#options;
    await this.#push(startAt, startAt + stepMicros);
    while (!this.#stopped && this.clockAt < endAt) {
      const [from, to] = [this.clockAt, this.clockAt + stepMicros];
      await Promise.all([this.#predict(to), this.#push(from, to + stepMicros), this.#postOutcomes(from)]);
      this.clockAt = to;
    }
    await this.#postOutcomes(this.clockAt + 24 * 60 * MICROS_PER_MINUTE);
    await this.#pool.close();
  }

  /** Everything that becomes available before `until`, pushed at `clockAt`: the store holds an event back until its time. */
  async #push(clockAt: Micros, until: Micros): Promise<void> {
    const { flights, landings, reports } = this.#options.replay;
    const landed: object[] = [];
    for (; this.#landed < landings.length && flights.landedAt[landings[this.#landed]!]! < until; this.#landed += 1) {
      const flight = landings[this.#landed]!;
      landed.push({
        date: formatTime(flights.departedAt[flight]!),
        origin: flights.origin[flight],
        destination: flights.destination[flight],
        delay: flights.delay[flight],
        distance: flights.distance[flight],
      });
    }
    const status: object[] = [];
    for (
      ;
      this.#reports < reports.availableAt.length && reports.availableAt[this.#reports]! < until;
      this.#reports += 1
    ) {
      const report = this.#reports;
      const meanDelay = reports.meanDelay[report]!;
      if (this.#reportsInSeconds) this.#wrongReportsFrom ??= reports.availableAt[report]!;
      status.push({
        airport: reports.airport[report],
        at: formatTime(reports.at[report]!),
        mean_delay: this.#reportsInSeconds ? meanDelay * SECONDS_PER_MINUTE : meanDelay,
        flights: reports.flights[report],
      });
    }
    await Promise.all([this.#pushTo('flights', clockAt, landed), this.#pushTo('airport_status', clockAt, status)]);
  }

  async #pushTo(source: string, clockAt: Micros, events: readonly object[]): Promise<void> {
    for (let from = 0; from < events.length; from += EVENTS_PER_PUSH) {
      const part = events.slice(from, from + EVENTS_PER_PUSH);
      await this.#options.client.post('engineer', `/v1/sources/${source}/events?wait=applied`, {
        events: part,
        clockAt: formatTime(clockAt),
      });
      this.pushedEvents += part.length;
    }
  }

  async #predict(until: Micros): Promise<void> {
    const { departedAt } = this.#options.replay.flights;
    const first = this.#departed;
    while (this.#departed < departedAt.length && departedAt[this.#departed]! < until) this.#departed += 1;
    const last = this.#departed;
    let next = first;
    const startedAtMs = performance.now();
    const worker = async (): Promise<void> => {
      while (next < last) {
        const flight = next;
        next += 1;
        const dueMs = ((flight - first) / this.#ratePerSecond) * 1_000 - (performance.now() - startedAtMs);
        // a due time in the next few milliseconds is met by the requests in flight, not by a timer
        if (dueMs > 4) await new Promise((resolve) => setTimeout(resolve, dueMs));
        await this.#ask(flight);
      }
    };
    await Promise.all(Array.from({ length: Math.min(CONNECTIONS, last - first) }, worker));
  }

  async #ask(flight: number): Promise<void> {
    const { flights } = this.#options.replay;
    const id = predictionId(flight);
    const body = `{"instances":[{"id":"${id}","unit":"${id}","asOf":"${formatTime(flights.departedAt[flight]!)}","origin":"${flights.origin[flight]}","destination":"${flights.destination[flight]}","distance":${flights.distance[flight]}}]}`;
    const sentAtMs = performance.now();
    this.requests += 1;
    try {
      const { statusCode, body: answer } = await this.#pool.request({
        method: 'POST',
        path: this.#path,
        headers: { 'content-type': 'application/json' },
        body,
      });
      const text = await answer.text();
      if (statusCode !== 200) throw new Error(`${statusCode}: ${text.slice(0, 300)}`);
      this.latency.record(performance.now() - sentAtMs);
      this.#count((JSON.parse(text) as { predictions: Prediction[] }).predictions[0]!, flights.departedAt[flight]!);
    } catch (error) {
      this.failures += 1;
      this.firstFailure ??= `${id}: ${(error as Error).message}`;
    }
  }

  #count({ version, arm, rung }: Prediction, asOf: Micros): void {
    const tally = this.versions.get(version) ?? { requests: 0, lastAnswerAtMs: 0 };
    tally.requests += 1;
    tally.lastAnswerAtMs = Date.now();
    if (arm === 'canary' && this.#wrongReportsFrom !== null && asOf >= this.#wrongReportsFrom)
      this.firstHarmfulAnswerAtMs ??= Date.now();
    this.versions.set(version, tally);
    if (rung !== arm && rung !== 'champion') this.fallbacks += 1;
  }

  /** Outcomes of the flights that have landed by `at` and whose departure was asked about. */
  async #postOutcomes(at: Micros): Promise<void> {
    const { flights, landings } = this.#options.replay;
    const outcomes: object[] = [];
    for (; this.#outcomesSent < landings.length; this.#outcomesSent += 1) {
      const flight = landings[this.#outcomesSent]!;
      if (flights.landedAt[flight]! >= at || flight >= this.#departed) break;
      outcomes.push({
        predictionId: predictionId(flight),
        value: flights.delay[flight]! >= LATE_MINUTES ? 1 : 0,
        observedAt: formatTime(flights.landedAt[flight]!),
      });
    }
    for (let from = 0; from < outcomes.length; from += OUTCOMES_PER_POST) {
      const part = outcomes.slice(from, from + OUTCOMES_PER_POST);
      await this.#options.client.post('engineer', `/v1/models/${this.#options.model}/outcomes`, { outcomes: part });
      this.outcomes += part.length;
    }
  }
}

const LATE_MINUTES = 15;

export function predictionId(flight: number): string {
  return `flight-${flight}`;
}
