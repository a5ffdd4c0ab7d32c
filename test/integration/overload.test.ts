/** Three times what a server can do, offered over real sockets to a real process. The tight figures are `bench/overload`'s. */
import { Pool } from 'undici';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { stumpsOnnx } from '../../inference/model/onnx-fixture.ts';
import { serveModels, type ServedModels } from './oip/serve-models.ts';

/** Some tenths of a millisecond a row: refusing is cheap beside it. */
const STUMPS = Array.from({ length: 30_000 }, (_, i) => [i % 4, (i % 97) / 16, 0, 1e-4, true] as const);
const MODEL = stumpsOnnx({ stumps: STUMPS, width: 4 });
const PATH = '/v2/models/slow/infer';
/** Long, for a machine that is busy with other things; but the open connections below hold more than is answered within it. */
const DEADLINE_MS = 400;
const SECONDS = 3;

let server: ServedModels;
let pool: Pool;

beforeAll(async () => {
  server = await serveModels({ slow: MODEL });
  pool = new Pool(server.url, { connections: 1_500, headersTimeout: 20_000, bodyTimeout: 20_000 });
});
afterAll(async () => {
  await pool.close();
  await server.close();
});

const featuresOf = (i: number): number[] => [i % 7, 1, 2, 3];
const SCORES = Array.from({ length: 7 }, (_, i) => {
  const features = featuresOf(i);
  const sum = STUMPS.reduce(
    (total, [feature, threshold, , above]) => total + (features[feature]! > threshold ? above : 0),
    0,
  );
  return 1 / (1 + Math.exp(-sum));
});

interface Outcome {
  answeredMs: number[];
  refusedMs: number[];
  /** Answers that are neither right nor a refusal that says when to try again. */
  wrong: string[];
}

async function ask(i: number, outcome: Outcome, headers: Record<string, string>): Promise<void> {
  const startedMs = performance.now();
  const features = featuresOf(i);
  const inputs = [{ name: 'features', datatype: 'FP32', shape: [1, 4], data: features }];
  try {
    const answer = await pool.request({ method: 'POST', path: PATH, headers, body: JSON.stringify({ inputs }) });
    const text = await answer.body.text();
    const ms = performance.now() - startedMs;
    const { statusCode } = answer;
    if (statusCode === 200 && Math.abs(scoreOf(text) - SCORES[i % 7]!) < 1e-3) outcome.answeredMs.push(ms);
    else if (statusCode === 503 && Number(answer.headers['retry-after']) >= 1) outcome.refusedMs.push(ms);
    else outcome.wrong.push(`${statusCode} ${text}`);
  } catch (error) {
    outcome.wrong.push(String(error));
  }
}

function scoreOf(text: string): number {
  return (JSON.parse(text) as { outputs: [{ data: [number] }] }).outputs[0].data[0];
}

/** Of the server's process, so that what else the machine does is not counted. */
async function usage(): Promise<{ cpuSeconds: number; residentMiB: number }> {
  const text = await (await fetch(`${server.url}/metrics`)).text();
  const read = (name: string): number => Number(new RegExp(`^${name}\\{[^}]*\\} (\\S+)`, 'm').exec(text)![1]);
  return {
    cpuSeconds: read('process_cpu_seconds_total'),
    residentMiB: read('process_resident_memory_bytes') / 2 ** 20,
  };
}

const nothing = (): Outcome => ({ answeredMs: [], refusedMs: [], wrong: [] });
const medianOf = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;

/** Clients that ask again when they are answered. */
async function closedLoop(clients: number): Promise<{ outcome: Outcome; perSecond: number }> {
  const outcome = nothing();
  const endsMs = performance.now() + SECONDS * 1_000;
  await Promise.all(
    Array.from({ length: clients }, async (_, client) => {
      for (let i = client; performance.now() < endsMs; i++) await ask(i, outcome, {});
    }),
  );
  return { outcome, perSecond: outcome.answeredMs.length / SECONDS };
}

/** Requests that are sent when they are due, whatever the server does. */
async function openLoop(perSecond: number): Promise<Outcome> {
  const outcome = nothing();
  const asked: Promise<void>[] = [];
  const startedMs = performance.now();
  const total = Math.floor(perSecond * SECONDS);
  await new Promise<void>((resolve) => {
    const timer = setInterval(() => {
      const due = Math.min(total, Math.floor(((performance.now() - startedMs) / 1_000) * perSecond));
      while (asked.length < due) asked.push(ask(asked.length, outcome, { 'x-serin-deadline-ms': String(DEADLINE_MS) }));
      if (asked.length < total) return;
      clearInterval(timer);
      resolve();
    }, 2);
  });
  await Promise.all(asked);
  return outcome;
}

test('at three times its capacity a server goes on doing its work: every request is answered or refused, none hangs', async () => {
  await closedLoop(16);
  const before = await usage();
  const peak = await closedLoop(32);
  const between = await usage();
  const peakPerCpuSecond = peak.outcome.answeredMs.length / (between.cpuSeconds - before.cpuSeconds);
  // also more than it does in a second of its own: the machine may have had little time for it, and more now
  const over = await openLoop(Math.max(3 * peak.perSecond, 1.5 * peakPerCpuSecond));
  const after = await usage();

  expect([peak.outcome.wrong, over.wrong]).toEqual([[], []]);
  expect(over.refusedMs.length).toBeGreaterThan(0);
  const overPerCpuSecond = over.answeredMs.length / (after.cpuSeconds - between.cpuSeconds);
  // how quickly is told by the simulation (inference/batching/overload.test.ts) and measured by bench/overload
  // on a machine with little time for it, the load is many times what it can do, and refusing takes its part
  expect(overPerCpuSecond).toBeGreaterThan(0.3 * peakPerCpuSecond);
  expect(after.residentMiB - between.residentMiB).toBeLessThan(150);
});

test('what is urgent does not wait behind what can wait', async () => {
  const outcomes = { interactive: nothing(), background: nothing() };
  const until = performance.now() + SECONDS * 1_000;
  const clients = (priority: keyof typeof outcomes, count: number) =>
    Array.from({ length: count }, async (_, client) => {
      for (let i = client; performance.now() < until; i++)
        await ask(i, outcomes[priority], { 'x-serin-priority': priority });
    });
  await Promise.all([...clients('background', 300), ...clients('interactive', 4)]);
  const { interactive, background } = outcomes;
  expect([interactive.wrong, background.wrong, interactive.refusedMs]).toEqual([[], [], []]);
  expect(medianOf(interactive.answeredMs)).toBeLessThan(0.7 * medianOf(background.answeredMs));
});
