import type { FastifyInstance } from 'fastify';
import type { LoggedPrediction } from '../../db/predictions.ts';
import { calibrationText } from '../../domain/calibration/calibration.ts';
import { SerinError } from '../../domain/errors.ts';
import { formatTime } from '../../domain/features/time-text.ts';
import { postProcessingOf } from '../../domain/registry/post-processing.ts';
import type { ServedVersion } from '../model/served-version.ts';
import { summaryOf } from '../model/model-report.ts';
import type { RouteEntry } from '../routing/route-entry.ts';
import type { RouteFailure } from '../routing/route-table.ts';
import type { CircuitState } from '../scoring/circuit.ts';

export interface ModelRouteDeps {
  readonly entries: () => ReadonlyMap<string, RouteEntry>;
  readonly failures: () => readonly RouteFailure[];
  /** Whether a version is being asked at the moment. */
  readonly circuitOf: (served: ServedVersion) => CircuitState;
  /** Answers logged under an id; null in a server without a log. */
  readonly listPredictions: ((predictionId: string) => Promise<readonly LoggedPrediction[]>) | null;
}

/** What this node serves, and what it logged. */
export function registerModelRoutes(
  app: FastifyInstance,
  { entries, failures, circuitOf, listPredictions }: ModelRouteDeps,
): void {
  app.get('/v1/models', () => ({
    models: [...entries().values()].map((entry) => describe(entry, failures(), circuitOf)),
  }));

  app.get<{ Params: { model: string } }>('/v1/models/:model', (request) => {
    const entry = entries().get(request.params.model);
    if (!entry)
      throw new SerinError('MODEL_NOT_FOUND', `there is no model "${request.params.model}" here; see GET /v1/models`);
    return describe(entry, failures(), circuitOf);
  });

  if (!listPredictions) return;
  app.get<{ Params: { id: string } }>('/v1/predictions/:id', async (request) => {
    const { id } = request.params;
    const logged = await listPredictions(id);
    if (logged.length === 0)
      throw new SerinError('NOT_FOUND', `no prediction "${id}" is logged; of the champion's only a sample is`);
    return { predictionId: id, answers: logged.map(withTimes) };
  });
}

function describe(
  { route, contract, loaded }: RouteEntry,
  failures: readonly RouteFailure[],
  circuitOf: ModelRouteDeps['circuitOf'],
) {
  return {
    model: route.model,
    route: { ...route, updatedAt: formatTime(route.updatedAt) },
    contract,
    versions: loaded.map((served) => {
      const { calibration, ...processing } = postProcessingOf(served);
      const { version, kind, featureSet, featureNames, timeoutMs, mandatory = [], scorer } = served;
      return {
        version,
        kind,
        featureSet,
        featureNames,
        ...processing,
        calibration: calibration === undefined ? null : calibrationText(calibration),
        timeoutMs: timeoutMs ?? null,
        mandatory: mandatory.map((column) => featureNames[column]!),
        circuit: kind === 'rule' ? null : circuitOf(served),
        loaded: scorer.report ? summaryOf(scorer.report) : null,
      };
    }),
    notTakenOver: failures.find((failure) => failure.model === route.model) ?? null,
  };
}

function withTimes({ asOf, answeredAt, known, ...logged }: LoggedPrediction) {
  return {
    ...logged,
    asOf: formatTime(asOf),
    answeredAt: formatTime(answeredAt),
    known: known && { ...known, readAt: formatTime(known.readAt) },
  };
}
