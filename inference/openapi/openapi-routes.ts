import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type { FastifyInstance } from 'fastify';
import { SerinError } from '../../domain/errors.ts';
import { type DescribedServer, openApiDocument } from './document.ts';
import type { ModelSchema } from './model-schema.ts';

export interface OpenApiDeps {
  readonly server: () => DescribedServer;
  /** undefined: there is no such model. @throws SerinError MODEL_NOT_FOUND, MODEL_NOT_READY */
  readonly schemaOf: (model: string) => ModelSchema | undefined;
}

/** What the page loads, and nothing else of the package. */
const ASSETS = new Map([
  ['swagger-ui.css', 'text/css; charset=utf-8'],
  ['swagger-ui-bundle.js', 'text/javascript; charset=utf-8'],
]);
const ASSETS_FOR_SECONDS = 3_600;

const PAGE = `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Serin inference tier</title><link rel="stylesheet" href="docs/swagger-ui.css"></head>
<body><div id="ui"></div><script src="docs/swagger-ui-bundle.js"></script>
<script>SwaggerUIBundle({ url: 'openapi.json', dom_id: '#ui', tryItOutEnabled: true });</script></body>
</html>
`;

/** The description of the server and of its models: `/openapi.json`, `/docs`, `/v1/models/{model}/schema`. */
export function registerOpenApi(app: FastifyInstance, { server, schemaOf }: OpenApiDeps): void {
  app.get('/openapi.json', () => openApiDocument(server()));
  app.get<{ Params: { model: string } }>('/v1/models/:model/schema', ({ params: { model } }) => {
    const schema = schemaOf(model);
    if (schema) return schema;
    throw new SerinError('MODEL_NOT_FOUND', `there is no model "${model}" here; see GET /v1/models`);
  });
  app.get('/docs', (_request, reply) => reply.type('text/html; charset=utf-8').send(PAGE));
  app.get<{ Params: { asset: string } }>('/docs/:asset', async ({ params: { asset } }, reply) => {
    const type = ASSETS.get(asset);
    if (type === undefined) throw new SerinError('NOT_FOUND', `the page has no "${asset.slice(0, 100)}"`);
    // read when somebody looks: serving does not pay for the page
    const bytes = await readFile(join(assetsFolder(), asset));
    return reply.type(type).header('cache-control', `public, max-age=${ASSETS_FOR_SECONDS}`).send(bytes);
  });
}

function assetsFolder(): string {
  return join(dirname(createRequire(import.meta.url).resolve('@fastify/swagger-ui/package.json')), 'static');
}
