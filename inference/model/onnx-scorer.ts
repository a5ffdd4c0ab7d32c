import { SerinError } from '../../domain/errors.ts';
import type { LoadedModel, ModelLoader, ModelSource } from './model-loader.ts';
import type { Scorer } from './scorer.ts';
import type { OnnxSignature } from './signature.ts';

/** Loads the model of a version: rows in, one score a row out. @throws as `ModelLoader.load` */
export async function loadOnnxScorer(
  loader: ModelLoader,
  source: ModelSource & { readonly expected: OnnxSignature },
): Promise<Scorer> {
  const model = await loader.load(source);
  return scorerOf(model, source.name, source.expected);
}

function scorerOf(model: LoadedModel, name: string, { outputName, featureCount }: OnnxSignature): Scorer {
  const asked = [model.outputs.findIndex((output) => output.name === outputName)];
  return {
    featureCount,
    report: model.report,
    offLoop: model.report.runner === 'thread',
    async score(features, rows) {
      const [scores] = await model.run(
        [{ datatype: 'FP32', shape: [rows, featureCount], data: Float32Array.from(features) }],
        asked,
      );
      const { data } = scores!;
      if (data.length !== rows)
        throw new SerinError('MODEL_FILE_INVALID', `${name}: ${rows} rows gave ${data.length} scores`);
      return Float64Array.from(data as Float32Array);
    },
    release: () => model.release(),
  };
}
