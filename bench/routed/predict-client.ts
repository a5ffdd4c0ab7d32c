/** Asks the routed tier at a fixed rate and holds every answer against the golden value of the version it names. */
import { Pool } from 'undici';
import { messageOf } from '../../domain/errors.ts';
import { CUSTOMERS, MODEL, requestOf, RULE_SCORE, type TrainedVersion } from './scored-project.ts';

/** ONNX Runtime and the JavaScript evaluator agree with training within this. */
const TOLERANCE = 2e-6;

export interface Asking {
  readonly url: string;
  readonly stored: boolean;
  readonly versions: readonly TrainedVersion[];
  /** Requests a second, due at fixed times whatever the tier does. */
  readonly ratePerSecond: number;
  readonly connections: number;
}

export interface Fault {
  readonly kind: 'failed' | 'wrong' | 'old';
  readonly detail: string;
}

export interface Client {
  readonly requests: number;
  /** Milliseconds from when a request was due to its answer, of those since the last `takeLatencies`. */
  takeLatencies(): number[];
  readonly faults: readonly Fault[];
  /** From now on an answer to a new request is by this epoch or a later one. */
  acknowledged(epoch: number): void;
  /** Which version an epoch's champion is. Answers are held against it at the end, when all are known. */
  routed(epoch: number, version: number): void;
  /** Settles when the last answer has come. */
  stop(): Promise<void>;
}

interface Prediction {
  readonly score: number;
  readonly version: number;
  readonly rung: string;
  readonly epoch: number;
}

export function startClient({ url, stored, versions, ratePerSecond, connections }: Asking): Client {
  const pool = new Pool(url, { connections, pipelining: 1 });
  const golden = new Map(versions.map((version) => [version.version, version.golden]));
  const championOf = new Map<number, number>();
  const seen = new Map<number, number>();
  const faults: Fault[] = [];
  let latencies: number[] = [];
  let requests = 0;
  let floor = 0;
  let running = true;
  const startedMs = performance.now();

  async function ask(customer: number, dueMs: number): Promise<void> {
    const least = floor;
    try {
      const { statusCode, body } = await pool.request({
        method: 'POST',
        path: `/v1/models/${MODEL}/predict`,
        body: JSON.stringify(requestOf(customer, { stored })),
      });
      const text = await body.text();
      latencies.push(performance.now() - dueMs);
      if (statusCode !== 200) {
        faults.push({ kind: 'failed', detail: `${statusCode} ${text}` });
        return;
      }
      const [answer] = (JSON.parse(text) as { predictions: [Prediction] }).predictions;
      const expected = answer.version === 0 ? RULE_SCORE : golden.get(answer.version)?.[customer];
      if (expected === undefined || !(Math.abs(answer.score - expected) <= TOLERANCE) || answer.rung !== 'champion')
        faults.push({ kind: 'wrong', detail: `customer ${customer}, expected ${expected}: ${text}` });
      if (answer.epoch < least) faults.push({ kind: 'old', detail: `after the acknowledgement of ${least}: ${text}` });
      const before = seen.get(answer.epoch);
      if (before !== undefined && before !== answer.version)
        faults.push({
          kind: 'wrong',
          detail: `epoch ${answer.epoch} was answered by versions ${before} and ${answer.version}`,
        });
      seen.set(answer.epoch, answer.version);
    } catch (error) {
      faults.push({ kind: 'failed', detail: messageOf(error) });
    }
  }

  async function client(first: number): Promise<void> {
    for (let i = first; running; i += connections) {
      const dueMs = startedMs + (i / ratePerSecond) * 1_000;
      const waitMs = dueMs - performance.now();
      if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
      if (!running) return;
      requests++;
      await ask(i % CUSTOMERS, dueMs);
    }
  }

  const clients = Array.from({ length: connections }, (_, i) => client(i));
  return {
    get requests() {
      return requests;
    },
    get faults() {
      return faults;
    },
    takeLatencies() {
      const taken = latencies;
      latencies = [];
      return taken;
    },
    acknowledged(epoch) {
      floor = epoch;
    },
    routed(epoch, version) {
      championOf.set(epoch, version);
    },
    async stop() {
      running = false;
      await Promise.all(clients);
      await pool.close();
      for (const [epoch, version] of seen) {
        const champion = championOf.get(epoch);
        if (champion !== undefined && champion !== version)
          faults.push({ kind: 'wrong', detail: `epoch ${epoch} routes to ${champion}, version ${version} answered` });
      }
    },
  };
}
