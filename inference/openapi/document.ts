import type { ModelRepository } from '../oip/model.ts';
import type { RouteEntry } from '../routing/route-entry.ts';
import type { JsonSchema } from './model-schema.ts';
import { describeOperation, type Operation } from './operations.ts';
import { commonOperations, routedOperations } from './product-operations.ts';
import { PRODUCT_SCHEMAS } from './product-schemas.ts';
import { protocolOperations } from './protocol-operations.ts';
import { PROTOCOL_SCHEMAS } from './protocol-schemas.ts';

export interface DescribedServer {
  readonly version: string;
  readonly repository: Pick<ModelRepository, 'models'>;
  /** Null: plain files are served, without routes and features. */
  readonly entries: ReadonlyMap<string, RouteEntry> | null;
}

const DESCRIPTION = [
  'Answers requests with models: over the Open Inference Protocol v2 (`/v2`), with tensors, and by keys (`/v1`), where Serin reads the features.',
  'Errors of `/v2` are `{"error": …}`, all others `application/problem+json` with a `code` of `docs/reference/errors.md`.',
  'Instants are RFC 3339 text.',
].join(' ');

/** The server as OpenAPI 3.1, with examples of the models that it serves at the moment. */
export function openApiDocument({ version, repository, entries }: DescribedServer): JsonSchema {
  const own = [
    ...(entries === null ? [] : routedOperations(entries)),
    ...commonOperations(entries === null ? 'FileModel' : 'RoutedModel'),
  ];
  const described: readonly (readonly [Operation, JsonSchema])[] = [
    ...own.map((operation) => [operation, describeOperation(operation, 'problem')] as const),
    ...protocolOperations(repository).map(
      (operation) => [operation, describeOperation(operation, 'protocol')] as const,
    ),
  ];
  const paths: Record<string, Record<string, JsonSchema>> = {};
  for (const [{ path, method }, description] of described) (paths[path] ??= {})[method] = description;
  return {
    openapi: '3.1.0',
    info: { title: 'Serin inference tier', version, description: DESCRIPTION },
    paths,
    components: {
      schemas: { ...PROTOCOL_SCHEMAS, ...PRODUCT_SCHEMAS },
      securitySchemes: {
        token: { type: 'http', scheme: 'bearer', description: 'Of a tester, or of the operator of plain files.' },
      },
    },
  };
}
