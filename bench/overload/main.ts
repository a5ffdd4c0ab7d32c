/**
 * `npm run bench -- overload [--seconds N] [--deadline-ms N] [--factor N] [--port N]`: what a server does when more is asked
 * of it than it can do. For a dear, a middling and a light model: the peak of a closed loop, then so many times that in an open
 * loop with a deadline. Prints a table and writes bench/results/overload.json.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import { stumpsOnnx } from '../../inference/model/onnx-fixture.ts';
import { buildLoad } from '../serving/contenders.ts';
import { endGroup } from '../serving/end-group.ts';
import { machineCpuSeconds, usageOfTree } from '../serving/process-usage.ts';

const run = promisify(execFile);
const CLI = fileURLToPath(new URL('../../../bin/serin.mjs', import.meta.url));
const RESULTS = fileURLToPath(new URL('../../../bench/results/', import.meta.url));
const PATH = '/v2/models/m/infer';
const FEATURES = 12;
const START_WITHIN_MS = 60_000;
/** Trees of one split. Refusing costs the same for all; the less a request takes, the more of it refusals take away. */
const MODELS = { dear: 100_000, middling: 40_000, light: 10_000 } as const;
const CLOSED_CONNECTIONS = 64;
/** Enough to have twice the deadline's worth of requests under way: fewer, and the queue is in the load generator. */
const connectionsFor = (rate: number, deadlineMs: number): number =>
  Math.min(4_096, Math.max(256, Math.ceil((2 * rate * deadlineMs) / 1_000)));

/** What the load generator prints, as far as it is of interest here. */
interface LoadReport {
  readonly requests: number;
  readonly failed: number;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly seconds: number;
  readonly loadCpuSeconds: number;
  readonly refused: number;
  readonly refusedP50Ms: number;
  readonly refusedP99Ms: number;
  readonly withoutRetryAfter: number;
  readonly hung: number;
}

interface Measurement extends LoadReport {
  readonly model: keyof typeof MODELS;
  readonly load: 'peak' | 'over';
  readonly offeredPerSecond: number;
  readonly serverCpuSeconds: number;
  readonly residentMiB: number;
  /** Cores that neither the server nor the load generator used. */
  readonly foreignCores: number;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      seconds: { type: 'string', default: '10' },
      'deadline-ms': { type: 'string', default: '50' },
      factor: { type: 'string', default: '3' },
      port: { type: 'string', default: '18195' },
    },
  });
  const [seconds, deadlineMs, factor] = [Number(values.seconds), Number(values['deadline-ms']), Number(values.factor)];
  const load = await buildLoad((line) => console.log(line));
  const folder = await mkdtemp(join(tmpdir(), 'serin-bench-overload-'));
  const measurements: Measurement[] = [];
  try {
    await writeFile(join(folder, 'bodies.jsonl'), bodies());
    for (const model of Object.keys(MODELS) as (keyof typeof MODELS)[]) {
      await writeFile(join(folder, 'm.onnx'), forest(MODELS[model]));
      const server = await startServer(join(folder, 'm.onnx'), values.port);
      try {
        const measure = (flags: string[], perSecond: number, kind: Measurement['load'], time = seconds) =>
          measured(server, load, [
            '-address',
            `127.0.0.1:${values.port}`,
            '-path',
            PATH,
            '-warmup',
            '0',
            '-bodies',
            join(folder, 'bodies.jsonl'),
            '-seconds',
            String(time),
            ...flags,
          ]).then((report): Measurement => ({ ...report, model, load: kind, offeredPerSecond: perSecond }));
        const closed = ['-connections', String(CLOSED_CONNECTIONS)];
        // what is measured is a server that has been running for a while
        await measure(closed, 0, 'peak', 2);
        const peak = await measure(closed, 0, 'peak');
        const rate = Math.round(peak.perSecond * factor);
        const open = ['-connections', String(connectionsFor(rate, deadlineMs)), '-rate', String(rate)];
        const over = await measure([...open, '-header', `x-serin-deadline-ms: ${deadlineMs}`], rate, 'over');
        measurements.push(peak, over);
      } finally {
        await endGroup(server);
      }
    }
  } finally {
    await rm(folder, { recursive: true });
  }
  print(measurements, deadlineMs, factor);
  await mkdir(RESULTS, { recursive: true });
  const machine = { cpu: cpus()[0]?.model, cores: cpus().length, node: process.version, loadAverage: loadavg() };
  const result = { at: new Date().toISOString(), machine, deadlineMs, factor, measurements };
  await writeFile(join(RESULTS, 'overload.json'), `${JSON.stringify(result, null, 2)}\n`);
}

function forest(trees: number): Uint8Array {
  const stumps = Array.from({ length: trees }, (_, i) => [i % FEATURES, (i % 97) / 16, 0, 1e-4, true] as const);
  return stumpsOnnx({ stumps, width: FEATURES });
}

function bodies(): string {
  const body = (i: number): string => {
    const data = Array.from({ length: FEATURES }, (_, feature) => ((i * 7 + feature * 3) % 60) / 8);
    return JSON.stringify({ inputs: [{ name: 'features', datatype: 'FP32', shape: [1, FEATURES], data }] });
  };
  return `${Array.from({ length: 200 }, (_, i) => body(i)).join('\n')}\n`;
}

async function startServer(file: string, port: string): Promise<ChildProcess> {
  const child = spawn(process.execPath, [CLI, 'serve', `m=${file}`, '--port', port], {
    stdio: ['ignore', 'ignore', 'inherit'],
    detached: true,
  });
  const deadline = Date.now() + START_WITHIN_MS;
  for (;;) {
    const ready = await fetch(`http://127.0.0.1:${port}/v2/health/ready`).catch(() => null);
    if (ready?.ok === true) return child;
    if (child.exitCode !== null || Date.now() > deadline) throw new Error(`the server on port ${port} does not answer`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

async function measured(
  server: ChildProcess,
  load: string,
  args: string[],
): Promise<Omit<Measurement, 'model' | 'load' | 'offeredPerSecond'>> {
  const [before, machineBefore] = [usageOfTree(server.pid!), machineCpuSeconds()];
  const { stdout } = await run(load, args);
  const [after, machineAfter] = [usageOfTree(server.pid!), machineCpuSeconds()];
  const report = JSON.parse(stdout) as LoadReport;
  const serverCpuSeconds = after.cpuSeconds - before.cpuSeconds;
  return {
    ...report,
    serverCpuSeconds,
    residentMiB: after.residentMiB,
    foreignCores: Math.max(
      0,
      (machineAfter - machineBefore - serverCpuSeconds - report.loadCpuSeconds) / report.seconds,
    ),
  };
}

function print(measurements: readonly Measurement[], deadlineMs: number, factor: number): void {
  const rows = [
    [
      'model',
      'peak a second',
      `answered a second at ${factor} ×`,
      'share',
      'share by server CPU',
      `p99 of the answered, ms (deadline ${deadlineMs})`,
      'p50 / p99 of the refused, ms',
      'refused',
      'hung',
      'other failures',
      'no Retry-After',
      'MiB before / after',
      'foreign cores',
    ],
  ];
  for (const peak of measurements.filter(({ load }) => load === 'peak')) {
    const over = measurements.find(({ model, load }) => model === peak.model && load === 'over')!;
    const byCpu = (m: Measurement): number => m.requests / m.serverCpuSeconds;
    rows.push([
      peak.model,
      peak.perSecond.toFixed(0),
      over.perSecond.toFixed(0),
      (over.perSecond / peak.perSecond).toFixed(2),
      (byCpu(over) / byCpu(peak)).toFixed(2),
      over.p99Ms.toFixed(1),
      `${over.refusedP50Ms.toFixed(1)} / ${over.refusedP99Ms.toFixed(1)}`,
      String(over.refused),
      String(over.hung),
      String(over.failed - over.refused - over.hung),
      String(over.withoutRetryAfter),
      `${peak.residentMiB.toFixed(0)} / ${over.residentMiB.toFixed(0)}`,
      `${peak.foreignCores.toFixed(2)} / ${over.foreignCores.toFixed(2)}`,
    ]);
  }
  for (const row of rows) console.log(`| ${row.join(' | ')} |`);
}

await main();
