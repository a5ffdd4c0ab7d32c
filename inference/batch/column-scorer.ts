/** A version over columns of many rows: the numbers that the online scorer gives for the same rows, bit for bit. */
import { readFile, stat } from 'node:fs/promises';
import { featureFields } from '../../domain/project/feature-schema.ts';
import type { ProjectSpec } from '../../domain/project/spec.ts';
import type { ModelVersionManifest } from '../../domain/registry/manifest.ts';
import { SerinError } from '../../domain/errors.ts';
import { invalidModel } from '../model/create-session.ts';
import { readOnnxGraph } from '../model/onnx-graph.ts';
import { openOrtSession, type OrtSession } from '../model/ort-session.ts';
import { createRuleModel } from '../model/rule-model.ts';
import type { Scorer } from '../model/scorer.ts';
import { checkSignature, trainedSignature } from '../model/signature.ts';
import { createTreeBlockEvaluator } from '../model/tree-block.ts';
import type { TreeEnsemble } from '../model/tree-ensemble.ts';
import { sigmoid } from '../model/tree-evaluator.ts';
import { createTreeRunner, judgeTrees } from '../model/tree-runner.ts';

export interface ColumnScorer {
  /**
   * @param columns by feature of the version, at least `rows` values each; NaN is missing
   * @param into gets `rows` scores; NaN where the version has none
   */
  score(columns: readonly Float64Array[], rows: number, into: Float64Array): Promise<void>;
  release(): Promise<void>;
}

/** Larger files hold weights, not trees. */
const TREES_MAX_BYTES = 64 << 20;
/** Rows that a scorer which wants them row by row is given at once. */
const ROWS_TOGETHER = 256;

/** @throws SerinError MODEL_FILE_INVALID */
export async function openColumnScorer(
  project: ProjectSpec,
  manifest: ModelVersionManifest,
  modelPath: string | null,
): Promise<ColumnScorer> {
  if (manifest.kind === 'rule') return byRows(ruleScorer(project, manifest));
  const name = `${manifest.model} v${manifest.version}`;
  if (modelPath === null) throw invalidModel(name, 'its manifest names no model file');
  const expected = trainedSignature(manifest.featureNames.length);
  const session = await openOrtSession(modelPath, name, { mapped: false });
  try {
    checkSignature(session.inputs, session.outputs, name, expected);
    const at = session.outputs.findIndex((output) => output.name === expected.outputName);
    const scorer = sessionScorer(session, at, expected.featureCount);
    const trees = await treesOf(modelPath, scorer, expected.outputName);
    if (trees === null) return byRows(scorer);
    await session.release();
    return treeScorer(trees, expected.outputName, expected.featureCount);
  } catch (error) {
    await session.release().catch(() => undefined);
    throw error;
  }
}

function ruleScorer(project: ProjectSpec, { model, featureSet }: ModelVersionManifest): Scorer {
  const declared = project.models.find(({ name }) => name === model);
  if (declared === undefined)
    throw new SerinError('REFERENCE_MISSING', `the project ${project.name} declares no model "${model}"`);
  return createRuleModel(declared.rule.expression, featureFields(project, featureSet));
}

function sessionScorer(session: OrtSession, output: number, width: number): Scorer {
  return {
    featureCount: width,
    async score(features, rows) {
      const input = { datatype: 'FP32', shape: [rows, width], data: Float32Array.from(features) } as const;
      const [scores] = await session.run([input], [output]);
      return Float64Array.from(scores!.data as Float32Array);
    },
    release: () => session.release(),
  };
}

/**
 * The model's trees, if it is trees alone and they give what ONNX Runtime gives. Which of the two is faster on this machine is
 * not asked: all parts of a batch are computed in one way, wherever they run.
 */
async function treesOf(path: string, reference: Scorer, outputName: string): Promise<TreeEnsemble | null> {
  if ((await stat(path)).size > TREES_MAX_BYTES) return null;
  const graph = readOnnxGraph(await readFile(path));
  if (graph === null) return null;
  const run = async (features: Float32Array, rows: number): Promise<Map<string, Float32Array>> => {
    const scores = await reference.score(Float64Array.from(features), rows);
    return new Map([[outputName, Float32Array.from(scores)]]);
  };
  const { ensemble } = await judgeTrees(graph, reference.featureCount, run, Infinity);
  return ensemble;
}

function treeScorer(ensemble: TreeEnsemble, outputName: string, width: number): ColumnScorer {
  const meaning = ensemble.outputs.get(outputName);
  const blocks = meaning === 'sum' || meaning === 'sigmoid' ? createTreeBlockEvaluator(ensemble) : null;
  if (blocks === null) {
    const runner = createTreeRunner(ensemble, width);
    return byRows({
      featureCount: width,
      score: async (features, rows) => {
        const [scores] = runner.run(Float32Array.from(features), rows, [outputName]);
        return Float64Array.from(scores as Float32Array);
      },
      release: () => Promise.resolve(),
    });
  }
  let sums = new Float32Array(0);
  return {
    score(columns, rows, into) {
      if (sums.length < rows) sums = new Float32Array(rows);
      blocks.sums(columns, rows, sums);
      if (meaning === 'sigmoid') for (let i = 0; i < rows; i++) into[i] = sigmoid(sums[i]!);
      else for (let i = 0; i < rows; i++) into[i] = sums[i]!;
      return Promise.resolve();
    },
    release: () => Promise.resolve(),
  };
}

function byRows(scorer: Scorer): ColumnScorer {
  const width = scorer.featureCount;
  return {
    async score(columns, rows, into) {
      for (let from = 0; from < rows; from += ROWS_TOGETHER) {
        const count = Math.min(ROWS_TOGETHER, rows - from);
        const features = new Float64Array(count * width);
        for (let c = 0; c < width; c++) {
          const column = columns[c]!;
          for (let i = 0; i < count; i++) features[i * width + c] = column[from + i]!;
        }
        into.set(await scorer.score(features, count), from);
      }
    },
    release: () => scorer.release(),
  };
}
