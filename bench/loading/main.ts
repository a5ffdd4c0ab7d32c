/**
 * `npm run bench -- loading [--repeats N] [--cycles N]`: what loading a model costs the event loop that serves, by the loader
 * and as it would be on the event loop itself; what a batch costs by each runner; and resident memory over many loads.
 * Prints tables and writes bench/results/loading.json.
 */
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises';
import { cpus, homedir, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { type LoadedModel, ModelLoader } from '../../inference/model/model-loader.ts';
import { denseBytes, denseOnnx, linearOnnx } from '../../inference/model/onnx-fixture.ts';
import { openOrtSession, zeroInputs } from '../../inference/model/ort-session.ts';
import type { Tensor } from '../../inference/oip/model.ts';
import type { TensorSession } from '../../inference/model/tensor-session.ts';
import { delayDuring, type EventLoopDelay } from '../../test/setup/event-loop-delay.ts';

const RESULTS = fileURLToPath(new URL('../../../bench/results/', import.meta.url));
const CACHE = join(homedir(), '.cache', 'serin', 'bench-serving');
const BATCHES = [1, 8, 32] as const;
const TIMED_MS = 300;
const CYCLES_A_LINE = 50;
const MIB = 2 ** 20;

interface Loading {
  readonly model: string;
  readonly fileMiB: number;
  readonly runner: string;
  readonly why: string;
  readonly loadMs: number;
  /** Worst delay of the event loop while the loader loaded it, of all repeats and in the middle. */
  readonly delayMsMax: number;
  readonly delayMsMedian: number;
  /** The longest that the event loop's thread computed in one go: the worst delay without what others did to it. */
  readonly ownDelayMsMax: number;
  /** The same, for as long, with nothing loaded: what else the machine does. */
  readonly neighboursMsMax: number;
  /** The same while the session was created and run twice on the event loop. */
  readonly blockedMs: number;
  /** Of the process, by /proc: what is its own. */
  readonly ownMiB: number;
  readonly estimatedMiB: number;
  /** Microseconds of a batch by its runner, and by a session on the event loop. */
  readonly batchMicros: Readonly<Record<number, number>>;
  readonly inlineMicros: Readonly<Record<number, number>>;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { repeats: { type: 'string', default: '5' }, cycles: { type: 'string', default: '500' } },
  });
  const [repeats, cycles] = [Number(values.repeats), Number(values.cycles)];
  const folder = await mkdtemp(join(tmpdir(), 'serin-bench-loading-'));
  const loader = new ModelLoader();
  try {
    const { files, absent } = await modelFiles(folder);
    // the first thread and the first session of a process cost more, and a server has paid for them before it listens
    await (await loader.load({ path: files[0]!.path, name: 'first' })).release();
    const loadings: Loading[] = [];
    for (const { name, path } of files) {
      loadings.push(await measure(loader, name, path, repeats));
      printLoading(loadings.at(-1)!, loadings.length === 1);
    }
    const small = files.filter(({ name }) => !name.startsWith('mapped'));
    const memory = await soak(loader, small, cycles);
    for (const line of absent) console.log(`not measured: ${line}`);
    await mkdir(RESULTS, { recursive: true });
    const machine = { cpu: cpus()[0]?.model, cores: cpus().length, node: process.version, loadAverage: loadavg() };
    const result = { at: new Date().toISOString(), machine, repeats, loadings, memory, absent };
    await writeFile(join(RESULTS, 'loading.json'), `${JSON.stringify(result, null, 2)}\n`);
  } finally {
    await loader.close();
    await rm(folder, { recursive: true });
  }
}

interface ModelFile {
  readonly name: string;
  readonly path: string;
}

async function modelFiles(folder: string): Promise<{ files: ModelFile[]; absent: string[] }> {
  const absent: string[] = [];
  const write = async (name: string, bytes: Uint8Array): Promise<ModelFile> => {
    const path = join(folder, `${name.replaceAll(/\W+/g, '-')}.onnx`);
    await writeFile(path, bytes);
    return { name, path };
  };
  const files = [await write('linear', linearOnnx({ weights: [1, 2, 3], bias: 0 }))];
  for (const [file, name] of [
    ['m', '100 trees'],
    ['big', '500 trees of depth 8'],
  ] as const) {
    const path = join(CACHE, `${file}.onnx`);
    if (existsSync(path)) files.push({ name, path });
    else absent.push(`${name}: ${path} is made by npm run bench -- serving`);
  }
  files.push(await write('dense 1 MB', denseOnnx({ width: 12, hidden: 250, layers: 5 })));
  files.push(await write('dense 20 MB', denseOnnx({ width: 12, hidden: 1_000, layers: 6 })));
  const mapped = { width: 12, hidden: 5_000, layers: 5, weightsFile: 'mapped.bin' };
  const weights = await open(join(folder, mapped.weightsFile), 'w');
  await weights.truncate(denseBytes(mapped));
  await weights.close();
  files.push(await write('mapped 400 MB', denseOnnx(mapped)));
  return { files, absent };
}

async function measure(loader: ModelLoader, name: string, path: string, repeats: number): Promise<Loading> {
  const delays: EventLoopDelay[] = [];
  const loads: number[] = [];
  const models: LoadedModel[] = [];
  const neighbours: number[] = [];
  let own = 0;
  for (let i = 0; i < repeats; i++) {
    await models.at(-1)?.release();
    const before = await ownBytes();
    delays.push(
      await delayDuring(async () => {
        models.push(await loader.load({ path, name }));
      }),
    );
    own = (await ownBytes()) - before;
    neighbours.push((await delayDuring(() => wait(models.at(-1)!.report.loadMs))).worstMs);
    loads.push(models.at(-1)!.report.loadMs);
  }
  const loaded = models.at(-1)!;
  const batchMicros = await timeBatches(loaded);
  const { report } = loaded;
  await loaded.release();
  const inlineMicros: Record<number, number> = {};
  const blocked = await delayDuring(async () => {
    const session = await openOrtSession(path, name, { mapped: name.startsWith('mapped') });
    await session.release();
  });
  const session = await openOrtSession(path, name, { mapped: name.startsWith('mapped') });
  Object.assign(inlineMicros, await timeBatches(session));
  await session.release();
  return {
    model: name,
    fileMiB: report.fileBytes / MIB,
    runner: report.runner,
    why: report.why,
    loadMs: median(loads),
    delayMsMax: Math.max(...delays.map(({ worstMs }) => worstMs)),
    delayMsMedian: median(delays.map(({ worstMs }) => worstMs)),
    ownDelayMsMax: Math.max(...delays.map(({ ownMs }) => ownMs)),
    neighboursMsMax: Math.max(...neighbours),
    blockedMs: blocked.ownMs,
    ownMiB: own / MIB,
    estimatedMiB: report.memoryBytes / MIB,
    batchMicros,
    inlineMicros,
  };
}

async function timeBatches(session: TensorSession): Promise<Record<number, number>> {
  const micros: Record<number, number> = {};
  const outputs = session.outputs.map((_, i) => i);
  for (const rows of BATCHES) {
    const batches = Array.from({ length: 64 }, () => randomInputs(session, rows));
    const endMs = performance.now() + TIMED_MS;
    let best = Infinity;
    for (let i = 0; performance.now() < endMs; i++) {
      // never the same rows twice in a row: a tree's branches would be guessed
      const inputs = batches[i % batches.length]!;
      const startedMs = performance.now();
      await session.run(inputs, outputs);
      best = Math.min(best, performance.now() - startedMs);
    }
    micros[rows] = best * 1e3;
  }
  return micros;
}

function randomInputs(session: TensorSession, rows: number): Tensor[] {
  const inputs = zeroInputs(session.inputs, rows);
  for (const { data } of inputs) if (data instanceof Float32Array) data.forEach((_, i) => (data[i] = Math.random()));
  return inputs;
}

/** Loads and lets go of one model after the other. @returns resident MiB after every 50 */
async function soak(loader: ModelLoader, files: readonly ModelFile[], cycles: number): Promise<number[]> {
  const resident: number[] = [];
  console.log(`\nloads  resident MiB`);
  for (let i = 1; i <= cycles; i++) {
    const { name, path } = files[i % files.length]!;
    const model = await loader.load({ path, name });
    await model.run(zeroInputs(model.inputs, 8), [0]);
    await model.release();
    if (i % CYCLES_A_LINE !== 0) continue;
    resident.push(process.memoryUsage.rss() / MIB);
    console.log(`${String(i).padStart(5)}  ${resident.at(-1)!.toFixed(0)}`);
  }
  return resident;
}

function printLoading(loading: Loading, first: boolean): void {
  if (first)
    console.log(
      'model                 file MiB  runner  load ms  delay ms max  median  none loaded  own max  on the loop ms  own MiB  estimated',
    );
  const { model, fileMiB, runner, loadMs, delayMsMax, delayMsMedian, ownMiB, estimatedMiB } = loading;
  const columns = [
    model.padEnd(22),
    fileMiB.toFixed(1).padStart(7),
    runner.padStart(7),
    loadMs.toFixed(0).padStart(8),
    delayMsMax.toFixed(1).padStart(13),
    delayMsMedian.toFixed(1).padStart(7),
    loading.neighboursMsMax.toFixed(1).padStart(12),
    loading.ownDelayMsMax.toFixed(1).padStart(8),
    loading.blockedMs.toFixed(1).padStart(15),
    ownMiB.toFixed(1).padStart(8),
    estimatedMiB.toFixed(1).padStart(10),
  ];
  console.log(columns.join(' '));
  const figures = (micros: Readonly<Record<number, number>>): string =>
    BATCHES.map((rows) => `${rows}: ${micros[rows]!.toFixed(0)}`).join(', ');
  console.log(
    `  µs a batch by rows: ${figures(loading.batchMicros)}; session on the loop: ${figures(loading.inlineMicros)}`,
  );
  console.log(`  ${loading.why}`);
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
}

/** Memory of this process alone: pages of mapped files are not counted. */
async function ownBytes(): Promise<number> {
  const text = await readFile('/proc/self/smaps_rollup', 'utf8');
  return Number(/^Anonymous:\s+(\d+) kB/m.exec(text)![1]) * 1_024;
}

await main();
