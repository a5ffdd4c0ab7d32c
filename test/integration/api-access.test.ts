import { afterAll, beforeAll, expect, test } from 'vitest';
import { type ApiFixture, createApiFixture } from '../setup/api-fixture.ts';

type Methods = Record<string, { summary?: string; responses: Record<string, { content: object } | undefined> }>;

let api: ApiFixture;
beforeAll(async () => {
  api = await createApiFixture();
});
afterAll(() => api.close());

test('a request without a token is refused with a problem that says what to send', async () => {
  const response = await api.app.inject({ url: '/v1/projects' });
  expect(response.statusCode).toBe(401);
  expect(response.headers['content-type']).toMatch(/^application\/problem\+json/);
  expect(response.json()).toMatchObject({
    type: 'urn:serin:error:UNAUTHENTICATED',
    code: 'UNAUTHENTICATED',
    status: 401,
    instance: '/v1/projects',
    detail: expect.stringContaining('Authorization: Bearer'),
  });
});

test('an unknown token is refused like a missing one', async () => {
  const response = await api.app.inject({ url: '/v1/projects', headers: { authorization: 'Bearer serin_unknown' } });
  expect(response.json()).toMatchObject({ code: 'UNAUTHENTICATED', status: 401 });
});

test('a viewer reads but does not apply, and is told which roles do', async () => {
  const viewer = await api.as('viewer');
  expect((await viewer.get('/v1/projects')).status).toBe(200);
  const refused = await viewer.send('POST', '/v1/projects', { spec: {} });
  expect(refused).toMatchObject({ status: 403, body: { code: 'FORBIDDEN', held: ['viewer'], required: ['engineer'] } });
});

test('tokens are made by admins alone, shown once, and worth nothing once revoked', async () => {
  const admin = await api.as('admin', 'root');
  expect(
    (await (await api.as('operator')).send('POST', '/v1/tokens', { principal: 'eve', roles: ['admin'] })).status,
  ).toBe(403);

  const made = await admin.send('POST', '/v1/tokens', { principal: 'mary', roles: ['viewer'] });
  expect(made).toMatchObject({
    status: 201,
    body: { principal: 'mary', roles: ['viewer'], token: expect.stringMatching(/^serin_/) },
  });
  const authorization = `Bearer ${made.body.token}`;
  expect((await api.app.inject({ url: '/v1/models', headers: { authorization } })).statusCode).toBe(200);

  expect((await admin.send('DELETE', '/v1/tokens/mary')).body).toEqual({ principal: 'mary', revoked: 1 });
  expect((await api.app.inject({ url: '/v1/models', headers: { authorization } })).statusCode).toBe(401);
});

test('every route under /v1 asks for a token', async () => {
  const paths = (api.app as unknown as { swagger(): { paths: Record<string, Record<string, unknown>> } }).swagger()
    .paths;
  const asked = Object.entries(paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => ({ path, method })),
  );
  expect(asked.length).toBeGreaterThan(30);
  for (const { path, method } of asked) {
    const url = path.replaceAll(/\{(\w+)\}/g, '1');
    const response = await api.app.inject({ method: method.toUpperCase() as 'GET', url });
    expect({ path, method, status: response.statusCode }).toEqual({ path, method, status: 401 });
  }
});

test('the OpenAPI document is 3.1, describes every route with its problems, and the pages need no network', async () => {
  const document = (await api.app.inject({ url: '/docs/json' })).json();
  expect(document.openapi).toBe('3.1.0');
  for (const [path, methods] of Object.entries<Methods>(document.paths)) {
    for (const [method, route] of Object.entries(methods)) {
      expect({ path, method, summary: typeof route.summary }).toEqual({ path, method, summary: 'string' });
      expect(route.responses['401']?.content).toHaveProperty('application/problem+json');
    }
  }
  const page = await api.app.inject({ url: '/docs/' });
  expect(page.statusCode).toBe(200);
  expect(page.body).not.toMatch(/(src|href)="(https?:)?\/\//);
});

test('health and metrics answer without a token', async () => {
  expect((await api.app.inject({ url: '/health/ready' })).json()).toEqual({
    status: 'ok',
    checks: { database: 'ok', temporal: 'ok' },
  });
  const metrics = (await api.app.inject({ url: '/metrics' })).body;
  expect(metrics).toMatch(/serin_api_request_seconds_count\{method="GET",route="\/v1\/projects",status="401"\} \d+/);
});

test('an unknown path and an unknown body member are problems that name them', async () => {
  const engineer = await api.as('engineer');
  expect((await engineer.get('/v1/nothing')).body).toMatchObject({ code: 'NOT_FOUND', status: 404 });
  const refused = await engineer.send('POST', '/v1/features/materializations', {
    project: 'flights',
    foldAt: 0,
    fold: 1,
  });
  expect(refused).toMatchObject({
    status: 400,
    body: { code: 'INPUT_INVALID', detail: expect.stringContaining('body/fold') },
  });
});
