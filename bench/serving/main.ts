/**
 * `npm run bench -- serving [--seconds N] [--rounds N] [--only NAME]`: Serin beside FastAPI, LitServe and a Go server with the same
 * ONNX model on the same cores. First duels: Serin and one rival, both running, measured by turns of a second or two, medians;
 * for a machine's speed changes by a third within minutes. Then each alone over many loads. Writes bench/results/serving.json.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { cpus, loadavg } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import { messageOf } from '../../domain/errors.ts';
import { type Contender, openWorkshop, type Workshop } from './contenders.ts';
import { endGroup } from './end-group.ts';
import type { LoadReport, Measure, Measurement } from './load-report.ts';
import { fightDuels, printDuels } from './duels.ts';
import { machineCpuSeconds, usageOfTree } from './process-usage.ts';

const run = promisify(execFile);
const RESULTS = fileURLToPath(new URL('../../../bench/results/', import.meta.url));
const CLOSED = [1, 8, 32, 128];
const OPEN = [500, 1_000, 2_000, 5_000];
const P99_BOUND_MS = 20;
const START_WITHIN_MS = 60_000;
/** A tail that was measured while others used more of the machine says nothing. */
const FOREIGN_CORES_MAX = 0.3;
const PATH = '/v2/models/m/infer';

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      seconds: { type: 'string', default: '5' },
      rounds: { type: 'string', default: '2' },
      only: { type: 'string' },
      port: { type: 'string', default: '18190' },
    },
  });
  const [seconds, rounds, port] = [Number(values.seconds), Number(values.rounds), Number(values.port)];
  const workshop = await openWorkshop((line) => console.log(line));
  const measurements: Measurement[] = [];
  const highest: { server: string; round: number; perSecond: number }[] = [];
  const absent: { server: string; reason: string }[] = [];
  const duels = values.only === undefined ? await fightDuels(workshop, port, withServer) : [];
  for (let round = 1; round <= rounds; round++) {
    for (const contender of workshop.contenders('m', port)) {
      if (values.only !== undefined && !contender.name.includes(values.only)) continue;
      if (contender.missing !== null) {
        if (round === 1) absent.push({ server: contender.name, reason: contender.missing });
        continue;
      }
      const failure = await withServer(contender, port, workshop, 'm', async (measure) => {
        for (const connections of CLOSED)
          measurements.push({ ...(await measure({ connections, rate: 0, seconds })), round });
        for (const rate of OPEN) measurements.push({ ...(await measure({ connections: 256, rate, seconds })), round });
        highest.push({ server: contender.name, round, perSecond: await highestRate(measure, seconds) });
      }).then(() => null, messageOf);
      if (failure !== null) absent.push({ server: contender.name, reason: failure });
    }
  }
  for (const contender of workshop.contenders('big', port)) {
    if (absent.some(({ server }) => server === contender.name)) continue;
    if (contender.missing !== null || (values.only !== undefined && !contender.name.includes(values.only))) continue;
    await withServer(contender, port, workshop, 'big', async (measure) => {
      measurements.push({ ...(await measure({ connections: 32, rate: 0, seconds })), round: 1 });
    });
  }
  printDuels(duels);
  print(measurements, highest, absent);
  await mkdir(RESULTS, { recursive: true });
  const machine = { cpu: cpus()[0]?.model, cores: cpus().length, node: process.version, loadAverage: loadavg() };
  const result = { at: new Date().toISOString(), machine, duels, measurements, highest, absent };
  await writeFile(join(RESULTS, 'serving.json'), `${JSON.stringify(result, null, 2)}\n`);
}

async function withServer(
  contender: Contender,
  port: number,
  workshop: Workshop,
  model: 'm' | 'big',
  body: (measure: Measure) => Promise<void>,
): Promise<void> {
  console.log(`${contender.name}, model ${model} …`);
  const child = spawn(contender.command, [...contender.args], {
    env: { ...process.env, ...contender.env, OMP_NUM_THREADS: '1', OMP_WAIT_POLICY: 'PASSIVE' },
    stdio: ['ignore', 'ignore', 'inherit'],
    detached: true,
  });
  try {
    await answersRightly(child, port, workshop, model);
    // what is measured is a server that has been running for a while
    await loadOf(workshop, port, { connections: 32, rate: 0, seconds: 2 });
    await body(async ({ connections, rate, seconds }) => {
      const [before, machineBefore] = [usageOfTree(child.pid!), machineCpuSeconds()];
      const report = await loadOf(workshop, port, { connections, rate, seconds });
      const [after, machineAfter] = [usageOfTree(child.pid!), machineCpuSeconds()];
      const cpu = after.cpuSeconds - before.cpuSeconds;
      return {
        ...report,
        server: contender.name,
        model,
        cpuMicrosPerRequest: (cpu * 1e6) / Math.max(1, report.requests),
        residentMiB: after.residentMiB,
        foreignCores: Math.max(0, (machineAfter - machineBefore - cpu - report.loadCpuSeconds) / report.seconds),
      };
    });
  } finally {
    await endGroup(child);
  }
}

async function loadOf(
  { load, folder }: Workshop,
  port: number,
  { connections, rate, seconds }: { connections: number; rate: number; seconds: number },
): Promise<LoadReport> {
  const { stdout } = await run(load, [
    '-address',
    `127.0.0.1:${port}`,
    '-path',
    PATH,
    '-bodies',
    join(folder, 'bodies.jsonl'),
    '-connections',
    String(connections),
    '-rate',
    String(rate),
    '-seconds',
    String(seconds),
    '-warmup',
    '0',
  ]);
  return JSON.parse(stdout) as LoadReport;
}

/** Waits for the server and compares its answers with those of ONNX Runtime in Python, so that nobody is fast by being wrong. */
async function answersRightly(child: ChildProcess, port: number, { folder }: Workshop, model: string): Promise<void> {
  const golden = JSON.parse(await readFile(join(folder, `${model}.golden.json`), 'utf8')) as number[];
  const bodies = (await readFile(join(folder, 'bodies.jsonl'), 'utf8')).trim().split('\n');
  const deadline = Date.now() + START_WITHIN_MS;
  const ask = (body: string): Promise<Response> =>
    fetch(`http://127.0.0.1:${port}${PATH}`, { method: 'POST', body, headers: { 'content-type': 'application/json' } });
  for (;;) {
    const response = await ask(bodies[0]!).catch(() => null);
    if (response?.ok === true) break;
    if (child.exitCode !== null || Date.now() > deadline) throw new Error(`the server on port ${port} does not answer`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  for (let i = 0; i < 200; i++) {
    const { outputs } = (await (await ask(bodies[i]!)).json()) as { outputs: [{ data: number[] }] };
    const got = outputs[0].data.flat()[1]!;
    if (!(Math.abs(got - golden[i]!) < 1e-5)) throw new Error(`row ${i}: ${got}, expected ${golden[i]}`);
  }
}

/** The highest rate at which p99, counted from when a request was due, stays within the bound. */
async function highestRate(measure: Measure, seconds: number): Promise<number> {
  let [low, high] = [0, 0];
  for (let rate = 1_000; rate <= 64_000; rate *= 2) {
    if (!(await holds(measure, rate, seconds))) {
      high = rate;
      break;
    }
    low = rate;
  }
  if (low === 0) [low, high] = [100, 1_000];
  for (let step = 0; step < 3 && high > low; step++) {
    const middle = (low + high) / 2;
    if (await holds(measure, middle, seconds)) low = middle;
    else high = middle;
  }
  return low;
}

async function holds(measure: Measure, rate: number, seconds: number): Promise<boolean> {
  const { failed, p99Ms, perSecond } = await measure({ connections: 256, rate, seconds });
  return failed === 0 && p99Ms <= P99_BOUND_MS && perSecond >= rate * 0.95;
}

function print(
  measurements: readonly Measurement[],
  highest: readonly { server: string; perSecond: number }[],
  absent: readonly { server: string; reason: string }[],
): void {
  const servers = [...new Set(measurements.map(({ server }) => server))];
  const best = (server: string, pick: (m: Measurement) => boolean): Measurement | undefined =>
    measurements.filter((m) => m.server === server && pick(m)).sort((a, b) => a.foreignCores - b.foreignCores)[0];
  const rows: string[][] = [
    [
      'server',
      ...CLOSED.map((c) => `c=${c} req/s (p99 ms)`),
      'CPU µs/req c=32',
      ...OPEN.map((rate) => `${rate}/s p50 / p99 / p99.9 ms`),
      `highest rate, p99 ≤ ${P99_BOUND_MS} ms`,
      'MiB',
      'big, c=32 req/s',
      'foreign cores',
    ],
  ];
  for (const server of servers) {
    const at32 = best(server, (m) => m.rate === 0 && m.connections === 32 && m.model === 'm');
    rows.push([
      server,
      ...CLOSED.map((c) => {
        const m = best(server, (each) => each.rate === 0 && each.connections === c && each.model === 'm');
        return m === undefined ? '–' : `${m.perSecond.toFixed(0)} (${tail(m, m.p99Ms.toFixed(1))})`;
      }),
      at32 === undefined ? '–' : at32.cpuMicrosPerRequest.toFixed(0),
      ...OPEN.map((rate) => {
        const m = best(server, (each) => each.rate === rate && each.model === 'm');
        if (m === undefined) return '–';
        return m.perSecond < rate * 0.95
          ? `overload (${m.perSecond.toFixed(0)}/s)`
          : `${m.p50Ms.toFixed(2)} / ${tail(m, `${m.p99Ms.toFixed(2)} / ${m.p999Ms.toFixed(1)}`)}`;
      }),
      String(Math.round(Math.max(0, ...highest.filter((h) => h.server === server).map((h) => h.perSecond)))),
      at32 === undefined ? '–' : at32.residentMiB.toFixed(0),
      best(server, (m) => m.model === 'big')?.perSecond.toFixed(0) ?? '–',
      at32 === undefined ? '–' : at32.foreignCores.toFixed(2),
    ]);
  }
  for (const row of rows) console.log(`| ${row.join(' | ')} |`);
  printScaling(best);
  const busy = measurements.filter(({ foreignCores }) => foreignCores > FOREIGN_CORES_MAX).length;
  if (busy > 0)
    console.log(
      `${busy} of ${measurements.length} measurements were made while others used more than ${FOREIGN_CORES_MAX} cores: their tails are not judged (n.j.)`,
    );
  for (const { server, reason } of absent) console.log(`${server}: ${reason}`);
  const failed = measurements.filter((m) => m.failed > 0);
  for (const m of failed)
    console.log(`${m.server}, ${m.mode} ${m.rate || m.connections}: ${m.failed} failed (${m.firstError})`);
}

function tail(m: Measurement, text: string): string {
  return m.foreignCores > FOREIGN_CORES_MAX ? 'n.j.' : text;
}

function printScaling(best: (server: string, pick: (m: Measurement) => boolean) => Measurement | undefined): void {
  const at = (processes: string) =>
    best(`serin, ${processes}`, (m) => m.rate === 0 && m.connections === 32 && m.model === 'm');
  const [one, two] = [at('1 process'), at('2 processes')];
  if (one === undefined || two === undefined) return;
  const [times, cpu] = [two.perSecond / one.perSecond, two.cpuMicrosPerRequest / one.cpuMicrosPerRequest];
  console.log(
    `Serin from one process to two at c=32: ${times.toFixed(2)} × the requests a second, ${cpu.toFixed(2)} × the CPU a request (the load generator shares the cores)`,
  );
}

await main();
