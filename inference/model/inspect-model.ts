/**
 * What is found out about a model file before it is taken into service: that it loads, runs and answers its golden rows,
 * what a batch of it costs, and by that who should compute it. Runs in a thread, since all of it blocks.
 */
import { readFile, stat } from 'node:fs/promises';
import type { GoldenRows } from '../../domain/registry/golden-rows.ts';
import { invalidModel } from './create-session.ts';
import { checkGolden, type GoldenRequest, readGoldenFile, requestOfRows } from './golden-check.ts';
import type { ModelReport, Runner } from './model-report.ts';
import { externalBytes, type OnnxGraph, readOnnxGraph } from './onnx-graph.ts';
import { openOrtSession, type OrtSession, zeroInputs } from './ort-session.ts';
import { checkSignature, type OnnxSignature } from './signature.ts';
import type { TreeEnsemble } from './tree-ensemble.ts';
import { createTreeRunner, judgeTrees, treeBytes, type TreeVerdict } from './tree-runner.ts';

/** What to load. Plain data. */
export interface ModelSource {
  readonly path: string;
  /** What messages call it, e.g. `delay v2`. */
  readonly name: string;
  /** What the model must take and give; left out: any tensors. */
  readonly expected?: OnnxSignature;
  readonly goldens?: GoldenRows;
  /** Ask what `<path>.golden.json` holds, where there is such a file. */
  readonly goldenFile?: boolean;
}

export interface Inspection {
  readonly report: ModelReport;
  /** The tables, where the trees are to be evaluated in JavaScript. */
  readonly trees: TreeEnsemble | null;
  /** Weights stay in their files. */
  readonly mapped: boolean;
  /** Says whether the file is still the same. */
  readonly identity: string;
}

/** Larger files are not read into memory to be looked at: they hold weights, not trees that JavaScript would evaluate faster. */
const MAX_READ_BYTES = 64 << 20;
/** Weights beside the file stay there from this size on. */
const MAPPED_FROM_BYTES = 64 << 20;
/** What may hold the event loop up: creating a session once, and each batch. */
const INLINE_CREATE_MS = 10;
const INLINE_RUN_MS = 1;
/** Rows of the batch by which a model is judged. */
const JUDGED_ROWS = 32;
/** A creation that took too long is tried again where the file is small: the first one of a process pays for ONNX Runtime itself, and neighbours are busy now and then. */
const CREATED_AGAIN_UP_TO_BYTES = 8 << 20;
const CREATIONS = 4;
const TIMED_RUNS = 10;
const TIMING_ENDS_MS = 250;
/** A batch's way to another thread and back: 60–240 µs measured (research/serving-and-monitoring.md §2). */
const THREAD_TRIP_MS = 0.1;

/**
 * @returns the inspection, and the open session where this thread is to keep it
 * @throws SerinError MODEL_FILE_INVALID
 */
export async function inspectModel(source: ModelSource): Promise<Inspection & { session: OrtSession | null }> {
  const { path, name, expected } = source;
  const startedMs = performance.now();
  const { size, identity } = await statFile(path, name);
  const graph = size <= MAX_READ_BYTES ? readOnnxGraph(await readFile(path)) : null;
  const beside = graph === null ? 0 : externalBytes(graph);
  const mapped = beside >= MAPPED_FROM_BYTES;
  let session = await openOrtSession(path, name, { mapped });
  try {
    const { inputs, outputs, batched } = session;
    if (expected) checkSignature(inputs, outputs, name, expected);
    const goldens = await goldenRequests(source, session);
    await askGoldens(session, goldens, name);
    let createMs = session.createMs;
    const verdict = await judge(graph, session, createMs);
    let runner: Runner = 'trees';
    let { why } = verdict;
    if (verdict.ensemble !== null) askTrees(verdict.ensemble, session, goldens, name);
    else {
      const runMs = await timeRun(session, goldens);
      for (let i = 1; i < CREATIONS && createMs > INLINE_CREATE_MS && size <= CREATED_AGAIN_UP_TO_BYTES; i++) {
        await session.release();
        session = await openOrtSession(path, name, { mapped });
        createMs = Math.min(createMs, session.createMs);
      }
      ({ runner, why } = chooseBetween(createMs, runMs, why));
    }
    const report: ModelReport = {
      inputs,
      outputs,
      batched,
      runner,
      why,
      fileBytes: size + beside,
      memoryBytes: memoryOf(runner, size, beside, verdict.ensemble, graph),
      loadMs: performance.now() - startedMs,
      goldenRows: goldens.reduce((sum, { rows }) => sum + rows, 0),
    };
    if (runner !== 'thread') await session.release();
    return { report, trees: verdict.ensemble, mapped, identity, session: runner === 'thread' ? session : null };
  } catch (error) {
    // it may be released already, between two creations
    await session.release().catch(() => undefined);
    throw error;
  }
}

/** @returns what changes when the file's bytes may have @throws SerinError MODEL_FILE_INVALID */
export async function statFile(path: string, name: string): Promise<{ size: number; identity: string }> {
  try {
    const { ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true });
    return { size: Number(size), identity: `${ino}:${size}:${mtimeNs}:${ctimeNs}` };
  } catch (error) {
    throw invalidModel(name, `its file ${path} cannot be read: ${(error as Error).message}`, error);
  }
}

async function goldenRequests(
  { path, name, expected, goldens, goldenFile = false }: ModelSource,
  { inputs, outputs }: OrtSession,
): Promise<GoldenRequest[]> {
  const requests: GoldenRequest[] = [];
  if (goldens && goldens.scores.length > 0)
    requests.push(requestOfRows(goldens, expected?.outputName ?? outputs[0]!.name));
  if (goldenFile) {
    const text = await readFile(`${path}.golden.json`, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return null;
      throw invalidModel(name, `its golden file cannot be read: ${error.message}`, error);
    });
    if (text !== null) requests.push(readGoldenFile(text, name, inputs, outputs));
  }
  return requests;
}

async function askGoldens(session: OrtSession, goldens: readonly GoldenRequest[], name: string): Promise<void> {
  const all = session.outputs.map((_, i) => i);
  for (const golden of goldens) checkGolden(golden, name, session.outputs, await session.run(golden.inputs, all));
}

function askTrees(
  ensemble: TreeEnsemble,
  { inputs, outputs }: OrtSession,
  goldens: readonly GoldenRequest[],
  name: string,
): void {
  const runner = createTreeRunner(ensemble, inputs[0]!.shape[1]!);
  for (const golden of goldens) {
    const [{ data, shape }] = golden.inputs as [(typeof golden.inputs)[number]];
    const names = outputs.map((output) => output.name);
    const results = runner.run(data as Float32Array, shape[0]!, names);
    checkGolden(
      golden,
      name,
      outputs,
      results.map((each, i) => ({ datatype: outputs[i]!.datatype, shape: outputs[i]!.shape, data: each })),
    );
  }
}

async function judge(graph: OnnxGraph | null, session: OrtSession, createMs: number): Promise<TreeVerdict> {
  const { inputs, outputs, batched } = session;
  const [input] = inputs;
  if (graph === null) return { ensemble: null, why: `its file is larger than ${MAX_READ_BYTES >> 20} MiB` };
  if (!batched || inputs.length !== 1 || input!.datatype !== 'FP32' || input!.shape.length !== 2 || !session.fixed)
    return { ensemble: null, why: 'it is not a tree ensemble alone' };
  const width = input!.shape[1]!;
  const all = outputs.map((_, i) => i);
  return judgeTrees(
    graph,
    width,
    async (data, rows) => {
      const tensors = await session.run([{ datatype: 'FP32', shape: [rows, width], data }], all);
      return new Map(outputs.map(({ name }, i) => [name, tensors[i]!.data]));
    },
    createMs > INLINE_CREATE_MS ? THREAD_TRIP_MS : 0,
  );
}

/** The quickest of some runs of a batch; null where the shapes leave nothing to ask with. */
async function timeRun(session: OrtSession, goldens: readonly GoldenRequest[]): Promise<number | null> {
  const { inputs, outputs, fixed, batched } = session;
  const asked = fixed ? zeroInputs(inputs, batched ? JUDGED_ROWS : 1) : goldens[0]?.inputs;
  if (asked === undefined) return null;
  const all = outputs.map((_, i) => i);
  const startedMs = performance.now();
  let best = Infinity;
  for (let i = 0; i < TIMED_RUNS && performance.now() - startedMs < TIMING_ENDS_MS; i++) {
    const runMs = performance.now();
    await session.run(asked, all);
    best = Math.min(best, performance.now() - runMs);
  }
  return best;
}

function chooseBetween(createMs: number, runMs: number | null, trees: string): { runner: Runner; why: string } {
  const creation = `creating it takes ${createMs.toFixed(1)} ms`;
  if (runMs === null) return { runner: 'thread', why: `its shapes are open, so what a run costs is not known` };
  const figures = `${creation}, a batch of ${JUDGED_ROWS} rows ${runMs.toFixed(2)} ms; ${trees}`;
  const short = createMs <= INLINE_CREATE_MS && runMs < INLINE_RUN_MS;
  return { runner: short ? 'inline' : 'thread', why: figures };
}

/** A session's weights inside the file: read, and laid out again for multiplying. Measured 1.0–1.9 with 1–20 MB. */
const WEIGHTS_FACTOR = 2;
/** Nodes of trees take more in ONNX Runtime than in the file. Measured 11 with 500 trees of depth 8. */
const TREES_FACTOR = 12;
/** A thread's own heap and stack. Measured 6–10 MiB. */
const THREAD_BYTES = 10 << 20;

/** By the file's size and factors measured beforehand: what the process holds more cannot be told apart from other requests'. */
function memoryOf(
  runner: Runner,
  fileBytes: number,
  besideBytes: number,
  trees: TreeEnsemble | null,
  graph: OnnxGraph | null,
): number {
  if (trees !== null) return treeBytes(trees);
  const ensemble = graph?.node.some(({ op_type }) => op_type.startsWith('TreeEnsemble')) ?? false;
  const session = fileBytes * (ensemble ? TREES_FACTOR : WEIGHTS_FACTOR) + besideBytes;
  return session + (runner === 'thread' ? THREAD_BYTES : 0);
}
