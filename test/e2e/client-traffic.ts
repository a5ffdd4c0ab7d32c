import { setTimeout as delay } from 'node:timers/promises';
import { Pool } from 'undici';
import { aRequest, ASKED_AT, PARCELS } from './parcels.ts';

const CALLERS = 6;
const EACH_EVERY_MS = 30;
/** A caller whose connection breaks asks again under the same id, as any client of an idempotent call does. */
const RETRY_MS = 50;
const PATIENCE_MS = 30_000;

interface Prediction {
  readonly version: number;
  readonly arm: 'champion' | 'canary';
  readonly rung: string;
  readonly epoch: number;
}

/** Callers who ask for predictions without a break, from the first moment to the last. */
export class ClientTraffic {
  readonly #pool: Pool;
  readonly #callers: Promise<void>[];
  #next = 0;
  #stopped = false;
  answers = 0;
  /** Requests that were asked again since the connection broke: only when the process that answers is killed. */
  retries = 0;
  /** Requests that nobody answered, or that were answered by a problem. */
  readonly failures: string[] = [];
  readonly byVersion = new Map<number, number>();
  readonly byRung = new Map<string, number>();
  /** Epochs of the answers, each once, in the order in which callers first saw them. */
  readonly epochs: number[] = [];

  constructor(inferenceUrl: string) {
    this.#pool = new Pool(inferenceUrl, { connections: CALLERS, pipelining: 1 });
    this.#callers = Array.from({ length: CALLERS }, () => this.#call());
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#callers);
    await this.#pool.close();
  }

  async #call(): Promise<void> {
    while (!this.#stopped) {
      const askedAtMs = performance.now();
      const n = this.#next;
      this.#next += 1;
      await this.#ask(n);
      await delay(Math.max(0, EACH_EVERY_MS - (performance.now() - askedAtMs)));
    }
  }

  async #ask(n: number): Promise<void> {
    const id = `parcel-${n}`;
    const body = JSON.stringify({ instances: [{ id, unit: id, asOf: ASKED_AT, ...aRequest(n) }] });
    const untilMs = performance.now() + PATIENCE_MS;
    for (;;) {
      try {
        const response = await this.#pool.request({
          method: 'POST',
          path: `/v1/models/${PARCELS}/predict`,
          headers: { 'content-type': 'application/json' },
          body,
        });
        const text = await response.body.text();
        if (response.statusCode === 200)
          this.#count((JSON.parse(text) as { predictions: Prediction[] }).predictions[0]!);
        else this.failures.push(`${id}: ${response.statusCode} ${text.slice(0, 300)}`);
        return;
      } catch (error) {
        if (performance.now() > untilMs) {
          this.failures.push(`${id}: ${(error as Error).message}`);
          return;
        }
        this.retries += 1;
        await delay(RETRY_MS);
      }
    }
  }

  #count({ version, rung, epoch }: Prediction): void {
    this.answers += 1;
    this.byVersion.set(version, (this.byVersion.get(version) ?? 0) + 1);
    this.byRung.set(rung, (this.byRung.get(rung) ?? 0) + 1);
    if (!this.epochs.includes(epoch)) this.epochs.push(epoch);
  }
}
