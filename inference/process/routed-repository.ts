import { SerinError } from '../../domain/errors.ts';
import type { CostBook } from '../admission/cost-book.ts';
import type { CostModel } from '../admission/cost-model.ts';
import type { ServedVersion } from '../model/served-version.ts';
import type { ModelIndexEntry, ModelRepository, Tensor, TensorModel } from '../oip/model.ts';
import { ModelStatistics } from '../oip/statistics.ts';
import type { RouteEntry } from '../routing/route-entry.ts';
import type { TensorWork } from '../scoring/score-tensors.ts';

export interface RoutedRepositoryDeps {
  /** @throws SerinError MODEL_NOT_READY with the reason where a model should be served and is not yet */
  readonly entryOf: (model: string) => RouteEntry | undefined;
  readonly entries: () => ReadonlyMap<string, RouteEntry>;
  readonly failures: () => readonly { readonly model: string; readonly reason: string }[];
  /** A version that no route names, where there is memory for such. @throws SerinError while it is being loaded, and where it cannot be */
  readonly byNumber: (model: string, version: number) => ServedVersion | undefined;
  /** What batches of each model's tensors cost. */
  readonly costs: CostBook;
  readonly submit: (model: string, work: TensorWork) => void;
}

/** The models of the routing table for clients that bring their own tensors: the champion, or any loaded version by number. */
export function routedRepository({
  entryOf,
  entries,
  failures,
  byNumber,
  costs,
  submit,
}: RoutedRepositoryDeps): ModelRepository {
  const statistics = new WeakMap<ServedVersion, ModelStatistics>();
  const statisticsOf = (served: ServedVersion): ModelStatistics => {
    let known = statistics.get(served);
    if (known === undefined) statistics.set(served, (known = new ModelStatistics()));
    return known;
  };
  const modelOf = (entry: RouteEntry, served: ServedVersion): TensorModel =>
    tensorModel(entry, served, statisticsOf(served), costs.of(entry.route.model), submit);
  const unrouted = (name: string, version: string): ServedVersion | undefined =>
    /^\d{1,9}$/.test(version) ? byNumber(name, Number(version)) : undefined;
  const refuse = (): Promise<never> =>
    Promise.reject(
      new SerinError(
        'COMMAND_REFUSED',
        'what is loaded here follows the routes: change them by a rollout or a rollback',
      ),
    );
  return {
    get(name, version) {
      const entry = entryOf(name);
      if (!entry) throw new SerinError('MODEL_NOT_FOUND', `unknown model '${name}'`);
      const served =
        version === undefined
          ? entry.champion
          : (entry.loaded.find((each) => String(each.version) === version) ?? unrouted(name, version));
      if (served) return modelOf(entry, served);
      throw new SerinError(
        'VERSION_NOT_FOUND',
        `version '${version}' of model '${name}' is not loaded; ${entry.loaded.map((each) => each.version).join(', ')} are`,
      );
    },
    models: () => [...entries().values()].flatMap((entry) => entry.loaded.map((served) => modelOf(entry, served))),
    index: () => [
      ...[...entries().values()].flatMap(({ route, loaded }) =>
        loaded.map(({ version }): ModelIndexEntry => ({
          name: route.model,
          version: String(version),
          state: 'READY',
          reason: '',
        })),
      ),
      ...failures()
        .filter(({ model }) => !entries().has(model))
        .map(({ model, reason }): ModelIndexEntry => ({ name: model, version: '', state: 'UNAVAILABLE', reason })),
    ],
    load: refuse,
    unload: refuse,
  };
}

function tensorModel(
  { route, loaded }: RouteEntry,
  served: ServedVersion,
  statistics: ModelStatistics,
  cost: CostModel,
  submit: (model: string, work: TensorWork) => void,
): TensorModel {
  // what a rule computes in doubles would not survive a float32
  const input = served.kind === 'rule' ? 'FP64' : 'FP32';
  const width = served.scorer.featureCount;
  return {
    name: route.model,
    version: String(served.version),
    versions: loaded.map(({ version }) => String(version)),
    platform: served.kind === 'rule' ? 'serin_rule' : 'onnx_onnxv1',
    inputs: [{ name: 'features', datatype: input, shape: [-1, width] }],
    outputs: [{ name: 'score', datatype: 'FP32', shape: [-1, 1] }],
    batched: true,
    statistics,
    async infer([features], outputs, deadlineMs, priority) {
      const { shape, data } = features!;
      const rows = shape[0]!;
      const startedMs = performance.now();
      try {
        const scores = await new Promise<Float64Array>((resolve, reject) => {
          submit(route.model, {
            kind: 'tensor',
            rows,
            served,
            features: Float64Array.from(data as Float32Array),
            deadlineMs,
            priority,
            cost,
            resolve,
            reject,
          });
        });
        const ms = performance.now() - startedMs;
        statistics.answered(rows, ms, 0);
        statistics.executed(rows, 0, ms, 0);
        return outputs.map((): Tensor => ({ datatype: 'FP32', shape: [rows, 1], data: Float32Array.from(scores) }));
      } catch (error) {
        statistics.failed(performance.now() - startedMs);
        throw error;
      }
    },
  };
}
