import type { FastifyInstance, FastifyReply } from 'fastify';
import { SerinError } from '../../domain/errors.ts';
import type { Scorer } from '../model/scorer.ts';
import type { TensorWork } from '../scoring/score-tensors.ts';
import { readInferRequest, writeInferResponse, type TensorSpec } from './oip-tensors.ts';

/** A model version as the Open Inference Protocol sees it: one numeric input, one score a row. */
export interface TensorModel extends TensorSpec {
  readonly name: string;
  readonly version: string;
  /** All versions of the model that can be asked. */
  readonly versions: readonly string[];
  readonly platform: 'onnx_onnxv1' | 'serin_rule';
  readonly served: { readonly scorer: Scorer };
}

export interface TensorCatalog {
  /** The named version, or without one the version that serves. @throws SerinError `MODEL_NOT_FOUND`, `VERSION_NOT_FOUND` */
  get(model: string, version: string | undefined): TensorModel;
}

export interface OipDeps {
  readonly catalog: TensorCatalog;
  readonly submit: (work: TensorWork) => void;
  readonly isReady: () => boolean;
  readonly serverVersion: string;
}

interface ModelRoute {
  Params: { model: string; version?: string };
}

/** Open Inference Protocol v2 over HTTP and JSON; errors are `{"error": …}` with the status codes Triton gives. */
export async function registerOipRoutes(
  app: FastifyInstance,
  { catalog, submit, isReady, serverVersion }: OipDeps,
): Promise<void> {
  await app.register((oip, _options, done) => {
    oip.setErrorHandler((error, _request, reply) => sendError(reply, error));
    oip.get('/v2', () => ({ name: 'serin', version: serverVersion, extensions: [] }));
    oip.get('/v2/health/live', () => ({ live: true }));
    oip.get('/v2/health/ready', (_request, reply) => {
      const ready = isReady();
      return reply.code(ready ? 200 : 503).send({ ready });
    });
    for (const path of ['/v2/models/:model', '/v2/models/:model/versions/:version']) {
      oip.get<ModelRoute>(path, ({ params }) => metadata(catalog.get(params.model, params.version)));
      oip.get<ModelRoute>(`${path}/ready`, ({ params }) => ({
        name: catalog.get(params.model, params.version).name,
        ready: true,
      }));
      oip.post<ModelRoute>(`${path}/infer`, async ({ params, body }, reply) => {
        const model = catalog.get(params.model, params.version);
        const request = readInferRequest(body, model.name, model);
        const { rows, features } = request;
        const scores = await new Promise<Float64Array>((resolve, reject) => {
          submit({ kind: 'tensor', rows, served: model.served, features, resolve, reject });
        });
        return reply
          .type('application/json; charset=utf-8')
          .send(writeInferResponse(model.name, model.version, request, model.outputName, scores));
      });
    }
    done();
  });
}

function metadata({ name, versions, platform, inputName, outputName, featureCount }: TensorModel) {
  return {
    name,
    versions,
    platform,
    inputs: [{ name: inputName, datatype: platform === 'serin_rule' ? 'FP64' : 'FP32', shape: [-1, featureCount] }],
    outputs: [{ name: outputName, datatype: 'FP32', shape: [-1, 1] }],
  };
}

function sendError(reply: FastifyReply, error: unknown): FastifyReply {
  const status = statusOf(error);
  if (status >= 500 && !(error instanceof SerinError)) reply.log.error({ err: error }, 'inference failed');
  if (error instanceof SerinError && error.retryable) void reply.header('retry-after', 1);
  const message = error instanceof Error ? error.message : String(error);
  return reply
    .code(status)
    .type('application/json; charset=utf-8')
    .send(JSON.stringify({ error: message }));
}

function statusOf(error: unknown): number {
  if (error instanceof SerinError) return error.status;
  const status = (error as { statusCode?: unknown } | null)?.statusCode;
  return typeof status === 'number' && status >= 400 ? status : 500;
}
