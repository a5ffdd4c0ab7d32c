import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { getProjectVersion } from '../db/projects.ts';
import { getVersion } from '../db/registry.ts';
import { getRoute } from '../db/routes.ts';
import type { Run } from '../db/runs.ts';
import type { BlobRef } from '../domain/blob.ts';
import { compiledModule } from '../domain/compiled-module.ts';
import { SerinError } from '../domain/errors.ts';
import type { DatasetManifest } from '../domain/features/dataset-manifest.ts';
import type { ServingEvidence } from '../domain/gates/gate-evidence.ts';
import { compileExpression } from '../domain/project/expression.ts';
import { featureFields, modelSignature, rowReader } from '../domain/project/feature-schema.ts';
import type { ProjectSpec } from '../domain/project/spec.ts';
import { type GoldenRows, goldenRows, mixRows } from '../domain/registry/golden-rows.ts';
import type { ModelVersionManifest } from '../domain/registry/manifest.ts';
import { type PostProcessing, postProcess } from '../domain/registry/post-processing.ts';
import { inheritedEnvironment } from '../platform/config.ts';
import { freePort } from '../platform/embedded/free-port.ts';
import { startProcess } from '../platform/embedded/processes.ts';
import { evaluateScores, type EvaluationRequest } from '../training/evaluate.ts';
import { readMatrix, type TrainingMatrix } from '../training/matrix.ts';
import { inspectOnnx } from '../training/onnx/inspect-onnx.ts';
import type { Dependencies } from './dependencies.ts';
import type { Beating } from './heartbeat.ts';
import { modelOf, postProcessingOfRun, type RunPlan, type RunResult } from './training-plan.ts';

const BATCH_ROWS = 512;
/**
 * Single-row requests per round. The first round only warms the path up; of the others the quickest counts: what else the
 * machine does can make a model look slower than it is, never faster.
 */
const LATENCY_REQUESTS = 150;
const LATENCY_ROUNDS = 4;
const CANDIDATE = 'candidate';
const CHAMPION = 'champion';

type Evaluated = Pick<RunResult, 'schemaFindings' | 'evaluation' | 'serving' | 'comparedWith' | 'goldens'>;

/**
 * Scores the held-out rows through the real serving path: the inference server itself is started with the candidate (and with
 * the champion, where that is a model of its own) and asked over HTTP.
 */
export async function evaluateRun(
  { db, blobs, config, logger }: Dependencies,
  {
    run,
    plan,
    result,
    manifest,
    file,
  }: { run: Run; plan: RunPlan; result: RunResult; manifest: DatasetManifest; file: BlobRef },
  { signal, progress }: Beating,
): Promise<Evaluated> {
  if (result.modelFile === undefined) throw new SerinError('MODEL_FILE_INVALID', `run ${run.runId} left no model file`);
  const { spec } = await getProjectVersion(db, plan.project, plan.projectDigest);
  const contract = modelOf(spec, run.model);
  const schemaFindings = compareSignature(await blobs.get(result.modelFile), manifest.features);
  if (schemaFindings.length > 0) return { schemaFindings };

  const answering = postProcessingOfRun(contract, result);
  const sliceColumns = contract.gates.flatMap((gate) => (gate.kind === 'slices' ? [gate.slice] : []));
  const path = await blobs.localPath(file);
  const { matrix, extra } = await readMatrix({
    path,
    columns: manifest.features,
    split: 'TEST',
    extra: [...new Set([...sliceColumns, ...(contract.slices === undefined ? [] : [contract.slices.by])])],
  });

  const { champion: championVersion } = await getRoute(db, run.model);
  const champion = (await getVersion(db, run.model, championVersion)).manifest;
  // a champion that reads features this dataset does not have cannot be compared on its rows: the regression gate will say so
  const comparable = champion.featureNames.every((name) => manifest.features.includes(name));
  const files: Record<string, string> = { [CANDIDATE]: await blobs.localPath(result.modelFile) };
  if (comparable && champion.modelFile !== null) files[CHAMPION] = await blobs.localPath(champion.modelFile);

  const directory = join(config.workDir, 'evaluation', run.runId);
  await mkdir(directory, { recursive: true });
  const server = await startServer(files, directory, logger);
  try {
    progress({ rows: 0, of: matrix.rows });
    const scores = await scoreAll(server.url, CANDIDATE, matrix, { signal, progress });
    const championScores = comparable
      ? answersOf(champion, await scoresOf(champion, spec, server.url, matrix, { signal, progress }), extra).scores
      : undefined;
    const goldens = await answerMixedRows(server.url, matrix, { signal, progress });
    const serving = await measureServing(server.url, matrix, signal);
    const reference =
      result.testScores === undefined ? undefined : await readScores(await blobs.localPath(result.testScores));
    return {
      schemaFindings,
      evaluation: evaluateScores({
        y: matrix.y,
        ...answersOf(answering, scores, extra),
        slices: Object.fromEntries(sliceColumns.map((column) => [column, extra.get(column)!])),
        threshold: contract.threshold,
        ...(championScores !== undefined && { champion: championScores }),
      }),
      comparedWith: championVersion,
      goldens,
      serving: { ...serving, ...parity(scores, reference) },
    };
  } finally {
    await server.stop();
    await rm(directory, { recursive: true, force: true });
  }
}

/** What the scores become as answers: gates judge those, not what the model file gives. */
function answersOf(
  version: PostProcessing,
  rawScores: Float32Array,
  extra: ReadonlyMap<string, readonly string[]>,
): Pick<EvaluationRequest, 'scores' | 'uncalibrated' | 'thresholds'> {
  const { calibration, slices } = version;
  if (calibration === undefined && slices === undefined) return { scores: rawScores };
  const values = slices === undefined ? undefined : extra.get(slices.by);
  const scores = new Float64Array(rawScores.length);
  const thresholds = new Float64Array(rawScores.length);
  rawScores.forEach((rawScore, row) => {
    const request = values === undefined ? {} : { [slices!.by]: values[row]! };
    const { score, threshold } = postProcess(version, rawScore, request);
    scores[row] = score;
    thresholds[row] = threshold;
  });
  return {
    scores,
    ...(calibration !== undefined && { uncalibrated: rawScores }),
    ...(slices !== undefined && { thresholds }),
  };
}

/** One sentence per way in which the model's file does not fit its feature set. */
function compareSignature(bytes: Uint8Array, features: readonly string[]): string[] {
  const { inputs, outputs } = inspectOnnx(bytes);
  const wanted = modelSignature(features.length);
  const findings: string[] = [];
  const [input] = inputs;
  if (inputs.length !== 1 || input?.type !== wanted.input.type)
    findings.push(`the model takes ${inputs.length} inputs; one ${wanted.input.type} tensor is expected`);
  const width = input?.shape.at(-1);
  if (width !== features.length)
    findings.push(`the model takes ${String(width)} columns, the feature set has ${features.length}`);
  if (!outputs.some(({ name }) => name === wanted.output.name))
    findings.push(`the model has no output "${wanted.output.name}"`);
  return findings;
}

async function startServer(files: Readonly<Record<string, string>>, directory: string, logger: Dependencies['logger']) {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const server = await startProcess({
    name: 'evaluation server',
    module: compiledModule(import.meta.url, '../inference/main.ts'),
    args: Object.entries(files).flatMap(([name, file]) => ['--model', `${name}=${file}`]),
    env: {
      ...inheritedEnvironment(),
      SERIN_INFERENCE_HOST: '127.0.0.1',
      SERIN_INFERENCE_PORT: String(port),
      SERIN_INFERENCE_PROCESSES: '1',
      SERIN_METRICS_PORT: '0',
      SERIN_LOG_LEVEL: 'warn',
    },
    logFile: join(directory, 'inference.log'),
    readyUrl: `${url}/v2/health/ready`,
    logger,
  });
  return { url, stop: () => server.stop(5_000) };
}

/** The champion's scores of the same rows: a model is asked, a rule is computed. */
async function scoresOf(
  champion: ModelVersionManifest,
  spec: ProjectSpec,
  url: string,
  matrix: TrainingMatrix,
  beating: Beating,
): Promise<Float32Array> {
  const columns = champion.featureNames.map((name) => matrix.columns.indexOf(name));
  if (champion.modelFile !== null) return scoreAll(url, CHAMPION, matrix, beating, columns);
  const { rule: declared } = modelOf(spec, champion.model);
  const rule = compileExpression(declared.expression);
  const types = new Map(featureFields(spec, declared.featureSet).map(({ name, type }) => [name, type]));
  const rowOf = rowReader(champion.featureNames.map((name) => ({ name, type: types.get(name) ?? 'f64' })));
  return Float32Array.from({ length: matrix.rows }, (_, index) => {
    const vector = columns.map((column) => matrix.x[index * matrix.columns.length + column]!);
    const score = rule(rowOf(vector, 0));
    return typeof score === 'number' ? score : Number.NaN;
  });
}

/** What the candidate says of rows that are nobody's, for every server that is to take it into service. */
async function answerMixedRows(url: string, matrix: TrainingMatrix, beating: Beating): Promise<GoldenRows> {
  const { features, rows } = mixRows(matrix.x, matrix.rows, matrix.columns.length);
  return goldenRows(features, await scoreAll(url, CANDIDATE, { ...matrix, x: features, rows }, beating));
}

async function scoreAll(
  url: string,
  model: string,
  matrix: TrainingMatrix,
  { signal, progress }: Beating,
  columns: readonly number[] = matrix.columns.map((_, index) => index),
): Promise<Float32Array> {
  const scores = new Float32Array(matrix.rows);
  for (let from = 0; from < matrix.rows; from += BATCH_ROWS) {
    const to = Math.min(from + BATCH_ROWS, matrix.rows);
    scores.set(await infer(url, model, matrix, from, to, columns, signal), from);
    progress({ rows: to, of: matrix.rows });
  }
  return scores;
}

async function infer(
  url: string,
  model: string,
  matrix: TrainingMatrix,
  from: number,
  to: number,
  columns: readonly number[],
  signal: AbortSignal,
): Promise<Float32Array> {
  const width = matrix.columns.length;
  const features = new Float32Array((to - from) * columns.length);
  let at = 0;
  for (let row = from; row < to; row += 1) {
    for (const column of columns) features[at++] = matrix.x[row * width + column]!;
  }
  // binary tensors: JSON has no NaN for a missing value
  const shape = [to - from, columns.length];
  const input = { name: 'features', datatype: 'FP32', shape, parameters: { binary_data_size: features.byteLength } };
  const head = Buffer.from(JSON.stringify({ inputs: [input], parameters: { binary_data_output: true } }));
  const response = await fetch(`${url}/v2/models/${model}/infer`, {
    method: 'POST',
    headers: { 'content-type': 'application/octet-stream', 'inference-header-content-length': String(head.length) },
    body: Buffer.concat([head, Buffer.from(features.buffer)]),
    signal,
  });
  if (!response.ok)
    throw new SerinError(
      'MODEL_NOT_READY',
      `the evaluation server answered ${response.status}: ${await response.text()}`,
    );
  const body = await response.arrayBuffer();
  return new Float32Array(body.slice(Number(response.headers.get('inference-header-content-length'))));
}

async function measureServing(
  url: string,
  matrix: TrainingMatrix,
  signal: AbortSignal,
): Promise<Omit<ServingEvidence, 'parityMaxAbsDifference' | 'rowsCompared'>> {
  const columns = matrix.columns.map((_, index) => index);
  const rounds: { p50: number; p99: number }[] = [];
  for (let round = 0; round <= LATENCY_ROUNDS; round += 1) {
    const latencies = new Float64Array(LATENCY_REQUESTS);
    for (const request of latencies.keys()) {
      const row = (round * LATENCY_REQUESTS + request) % matrix.rows;
      const startedAt = performance.now();
      await infer(url, CANDIDATE, matrix, row, row + 1, columns, signal);
      latencies[request] = performance.now() - startedAt;
    }
    latencies.sort();
    const at = (share: number) => latencies[Math.floor(share * (LATENCY_REQUESTS - 1))]!;
    if (round > 0) rounds.push({ p50: at(0.5), p99: at(0.99) });
  }
  const quickest = rounds.reduce((best, round) => (round.p99 < best.p99 ? round : best));
  return {
    loaded: true,
    latencyMsP50: quickest.p50,
    latencyMsP99: quickest.p99,
    rssMiB: await residentMiB(url, signal),
  };
}

async function residentMiB(url: string, signal: AbortSignal): Promise<number | null> {
  const response = await fetch(`${url}/metrics`, { signal });
  const match = /^(?:\w+_)?process_resident_memory_bytes(?:\{[^}]*\})? ([\d.e+]+)$/m.exec(await response.text());
  return match === null ? null : Number(match[1]) / 2 ** 20;
}

function parity(
  served: Float32Array,
  reference: Float32Array | undefined,
): Pick<ServingEvidence, 'parityMaxAbsDifference' | 'rowsCompared'> {
  if (reference === undefined || reference.length !== served.length || served.length === 0)
    return { parityMaxAbsDifference: null, rowsCompared: 0 };
  let worst = 0;
  for (const [row, score] of served.entries()) {
    const difference = Math.abs(score - reference[row]!);
    // not a number on one side is the largest difference there is
    worst = difference <= worst ? worst : Number.isNaN(difference) ? Number.MAX_VALUE : difference;
  }
  return { parityMaxAbsDifference: worst, rowsCompared: served.length };
}

async function readScores(path: string): Promise<Float32Array> {
  const bytes = await readFile(path);
  return new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
}
