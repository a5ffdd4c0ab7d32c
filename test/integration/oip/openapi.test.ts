/** The description of the inference tier: it names what is there, its examples are answered, and the answers are what it says. */
import { readFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { eventually } from '../../setup/eventually.ts';
import { type BothServers, startBothServers } from './both-servers.ts';
import { schemaCheck } from './json-schema.ts';
import { GOOD_INSTANCE, MODEL, PREDICT } from './routed-model.ts';

interface Content {
  readonly schema?: object;
  readonly example?: unknown;
  readonly examples?: Readonly<Record<string, { readonly value: unknown }>>;
}
interface Described {
  readonly parameters: readonly { readonly name: string; readonly in: string }[];
  readonly requestBody?: { readonly content: Readonly<Record<string, Content>> };
  readonly responses: Readonly<Record<string, { readonly content: Readonly<Record<string, Content>> }>>;
}
interface Document {
  readonly openapi: string;
  readonly paths: Readonly<Record<string, Readonly<Record<string, Described>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, object>> };
}

let both: BothServers;

beforeAll(async () => {
  both = await startBothServers();
});
afterAll(() => both.close());

const servers = [
  ['of plain files', () => both.files.port, ['m', 'all']],
  ['of routes', () => both.routed.port, [MODEL]],
] as const;

describe.each(servers)('a server %s', (kind, port, models) => {
  const fetchJson = async (path: string, init?: RequestInit): Promise<{ status: number; body: unknown }> => {
    const response = await fetch(`http://127.0.0.1:${port()}${path}`, init);
    const type = response.headers.get('content-type') ?? '';
    const text = await response.text();
    return { status: response.status, body: /json/.test(type) ? JSON.parse(text) : text };
  };
  const documentOf = async () => (await fetchJson('/openapi.json')).body as Document;

  /** What the document says of an answer, as a check. */
  function checkOf(document: Document, described: Described, status: number): (body: unknown) => readonly string[] {
    const content = described.responses[String(status)]?.content ?? {};
    const schema = Object.entries(content).find(([type]) => type.includes('json'))?.[1].schema;
    if (schema === undefined) return () => [];
    return schemaCheck({ ...schema, components: document.components });
  }

  test('describes only what is there', async () => {
    const document = await documentOf();
    expect(document.openapi).toBe('3.1.0');
    const described = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
    );
    for (const route of described) {
      const [method, path] = route.split(' ') as [string, string];
      const { status, body } = await fetchJson(path.replace(/\{\w+\}/g, 'nothing'), {
        // a method that no route has: the refusal names those that are there
        method: 'PATCH',
      });
      expect([route, status, JSON.stringify(body)]).toEqual([route, 405, expect.stringContaining(method)]);
    }
    expect(described.length).toBeGreaterThan(20);
  });

  test('answers every GET as described', async () => {
    const document = await documentOf();
    for (const [path, { get }] of Object.entries(document.paths)) {
      if (get === undefined || path.includes('{id}')) continue;
      const concrete = path.replace('{model}', models[0]).replace('{version}', kind === 'of routes' ? '0' : '1');
      const { status, body } = await fetchJson(concrete);
      expect([path, status, checkOf(document, get, status)(body)]).toEqual([path, 200, []]);
    }
  });

  test('answers every example of a body as described', async () => {
    const document = await documentOf();
    let answered = 0;
    for (const [path, { post }] of Object.entries(document.paths)) {
      const content = post?.requestBody?.content['application/json'];
      // what is loaded stays loaded, and what follows the routes is refused
      if (content === undefined || path.includes('/repository/models/')) continue;
      const examples = content.examples ?? { [models[0]]: { value: content.example } };
      for (const [model, { value }] of Object.entries(examples)) {
        expect(models).toContain(model);
        const concrete = path.replace('{model}', model).replace('{version}', kind === 'of routes' ? '0' : '1');
        const { status, body } = await fetchJson(concrete, { method: 'POST', body: JSON.stringify(value) });
        expect([concrete, status, checkOf(document, post!, status)(body)]).toEqual([concrete, 200, []]);
        expect(schemaCheck({ ...content.schema, components: document.components })(value)).toEqual([]);
        answered++;
      }
    }
    expect(answered).toBeGreaterThanOrEqual(3);
  });

  test('describes its errors: unknown models, bad bodies, wrong methods', async () => {
    const document = await documentOf();
    for (const [path, methods] of Object.entries(document.paths)) {
      for (const [method, described] of Object.entries(methods)) {
        if (!path.includes('{model}')) continue;
        const concrete = path.replace('{model}', 'nothing').replace('{version}', '1');
        const init = method === 'post' ? { method: 'POST', body: '{}' } : {};
        const { status, body } = await fetchJson(concrete, init);
        expect([path, [400, 404].includes(status), checkOf(document, described, status)(body)]).toEqual([
          path,
          true,
          [],
        ]);
      }
    }
  });

  test('gives each model a schema that takes its example, and that the answer fits', async () => {
    for (const model of models) {
      const { body } = await fetchJson(`/v1/models/${model}/schema`);
      const { request, response, example } = body as {
        request: { examples: unknown[] };
        response: object;
        example: unknown;
      };
      const checkRequest = schemaCheck(request);
      for (const each of [example, ...request.examples]) {
        expect([model, checkRequest(each)]).toEqual([model, []]);
        const path = kind === 'of routes' ? `/v1/models/${model}/predict` : `/v2/models/${model}/infer`;
        const { status, body: answer } = await fetchJson(path, { method: 'POST', body: JSON.stringify(each) });
        expect([model, status, schemaCheck(response)(answer)]).toEqual([model, 200, []]);
      }
    }
  });

  test('has a page that loads nothing from elsewhere', async () => {
    const { body } = await fetchJson('/docs');
    expect(body).not.toMatch(/(src|href)="(https?:)?\/\//);
    for (const [, asset] of (body as string).matchAll(/(?:src|href)="([^"]+)"/g)) {
      expect([asset, (await fetchJson(`/${asset}`)).status]).toEqual([asset, 200]);
    }
    expect((await fetchJson('/docs/..%2fpackage.json')).status).toBe(404);
  });
});

test('no route is left out of the description', async () => {
  const document = (await (await fetch(`http://127.0.0.1:${both.routed.port}/openapi.json`)).json()) as Document;
  const described = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  );
  expect(routesOf(both.routed.node.app.printRoutes({ commonPrefix: false })).sort()).toEqual(described.sort());
});

test('the page of the reference names the same routes', async () => {
  const document = (await (await fetch(`http://127.0.0.1:${both.routed.port}/openapi.json`)).json()) as Document;
  const described = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  );
  const page = await readFile(new URL('../../../docs/reference/inference-api.md', import.meta.url), 'utf8');
  const named = [...page.matchAll(/`((?:GET|POST) \/[^`]*)`/g)].map(([, route]) => route!);
  expect([...new Set(named)].sort()).toEqual(described.sort());
});

/** The routes of Fastify's tree of them, but for what the page of the description loads and what answers the rest. */
function routesOf(tree: string): string[] {
  const above: string[] = [];
  return tree.split('\n').flatMap((line) => {
    const [, indent, segment, methods] = /^((?:│ {3}| {4})*)[├└]── (\S+) \((.*)\)$/.exec(line) ?? [];
    if (indent === undefined || segment === '*' || segment === '/:asset') return [];
    above.splice(indent.length / 4, Infinity, segment!);
    const path = above.join('').replace(/:(\w+)/g, '{$1}');
    return methods!.split(', ').flatMap((method) => (method === 'HEAD' ? [] : [`${method} ${path}`]));
  });
}

test('the schema of a model refuses what the server refuses, by the same field', async () => {
  const post = async (instance: unknown) => {
    const url = `http://127.0.0.1:${both.routed.port}${PREDICT}`;
    const response = await fetch(url, { method: 'POST', body: JSON.stringify(instance) });
    return { status: response.status, body: (await response.json()) as { field?: string } };
  };
  const { request } = (await (
    await fetch(`http://127.0.0.1:${both.routed.port}/v1/models/${MODEL}/schema`)
  ).json()) as {
    request: { $defs: { instance: object } };
  };
  const check = schemaCheck(request.$defs.instance);
  const good = JSON.parse(GOOD_INSTANCE) as Record<string, unknown>;
  expect(check(good)).toEqual([]);
  for (const [field, value] of [
    ['distance', 'far'],
    ['distance', undefined],
    ['carrier', 7],
    ['stops', 1.5],
    ['stops', 2 ** 53],
    ['night', 'no'],
    ['departs', 'yesterday'],
    ['wings', 2],
    ['id', ''],
    ['unit', 'u'.repeat(257)],
    ['asOf', '2001-06-01'],
  ] as const) {
    const { [field]: _, ...others } = good;
    const instance = value === undefined ? others : { ...others, [field]: value };
    const { status, body } = await post(instance);
    expect([field, status, body.field, check(instance).length > 0]).toEqual([field, 400, field, true]);
  }
});

test('a prediction that was logged is described, too', async () => {
  const document = (await (await fetch(`http://127.0.0.1:${both.routed.port}/openapi.json`)).json()) as Document;
  await fetch(`http://127.0.0.1:${both.routed.port}${PREDICT}`, { method: 'POST', body: GOOD_INSTANCE });
  const body = await eventually('the prediction is logged', async () => {
    await both.routed.node.flush();
    const response = await fetch(`http://127.0.0.1:${both.routed.port}/v1/predictions/good`);
    return response.status === 200 && ((await response.json()) as unknown);
  });
  const schema = document.paths['/v1/predictions/{id}']!['get']!.responses['200']!.content['application/json']!.schema;
  expect(schemaCheck({ ...schema, components: document.components })(body)).toEqual([]);
});
