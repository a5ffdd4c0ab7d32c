import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { mkdtempSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Command } from 'commander';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { createProgram, runCli } from './run-cli.ts';

/** An API that answers as it is told, and remembers what it was asked. */
interface FakeApi {
  readonly url: string;
  readonly asked: { method: string; path: string; token: string; body: unknown }[];
  answers: Record<string, { status?: number; body: object }[]>;
  close(): void;
}

let api: FakeApi;
let stdout: string;
let stderr: string;

beforeEach(async () => {
  api = await startFakeApi();
  [stdout, stderr] = ['', ''];
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    stdout += String(text);
    return true;
  });
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
    stderr += String(text);
    return true;
  });
  vi.stubEnv('SERIN_API_URL', api.url);
  vi.stubEnv('SERIN_TOKEN', 'serin_test');
  vi.stubEnv('SERIN_HOME', mkdtempSync(join(tmpdir(), 'serin-cli-')));
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
  api.close();
});

const problem = (code: string, status: number, detail = 'because') => ({
  status,
  body: { type: `urn:serin:error:${code}`, title: code, status, code, detail, instance: '/' },
});
const operation = (status: string, more: object = {}) => ({
  body: {
    workflowId: 'train/m/t/1',
    status,
    links: { temporal: 'http://ui/1', self: '/v1/operations/train%2Fm%2Ft%2F1' },
    ...more,
  },
});

test('a command that is done ends with 0, in a pipe as plain lines', async () => {
  api.answers['GET /v1/projects'] = [
    { body: { projects: [{ name: 'flights', digest: 'f'.repeat(64), updatedAt: 0 }] } },
  ];
  expect(await runCli(['projects'])).toBe(0);
  expect(stdout).toBe('flights\tffffffffffff\t1970-01-01 00:00:00 UTC\n');
  expect(api.asked).toMatchObject([{ method: 'GET', token: 'Bearer serin_test' }]);
});

test('an empty table in a pipe is no line', async () => {
  api.answers['GET /v1/projects'] = [{ body: { projects: [] } }];
  expect(await runCli(['projects'])).toBe(0);
  expect(stdout).toBe('');
});

test('a rollout plan says each of its sentences once', async () => {
  const plan = { canDecide: false, stages: [{ sentence: 'Stage 1.' }], sentences: ['Stage 1.', 'It cannot decide.'] };
  api.answers['POST /v1/models/m/rollouts/plan'] = [{ body: plan }];
  expect(await runCli(['rollout', 'plan', 'm', '--rps', '50'])).toBe(1);
  expect(stdout).toBe('Stage 1.\nIt cannot decide.\n');
});

test('--json gives the answer as it came', async () => {
  api.answers['GET /v1/audit/verify'] = [{ body: { holds: true, records: 3, head: 'abc' } }];
  expect(await runCli(['audit', 'verify', '--json'])).toBe(0);
  expect(JSON.parse(stdout)).toEqual({ holds: true, records: 3, head: 'abc' });
});

test.each([
  ['what the API refuses', problem('MODEL_NOT_FOUND', 404), 1],
  ['a missing or unknown token', problem('UNAUTHENTICATED', 401), 4],
  ['a role that does not allow it', problem('FORBIDDEN', 403), 4],
  ['an approval by the author', problem('APPROVAL_BY_AUTHOR', 403), 4],
])('%s ends with its exit code and says why', async (_, answer, exitCode) => {
  api.answers['GET /v1/models/m'] = [answer];
  expect(await runCli(['models', 'show', 'm'])).toBe(exitCode);
  expect(stderr).toContain(answer.body.code);
  expect(stderr).toContain('because');
  expect(stdout).toBe('');
});

test.each([[['bogus']], [['train', 'only-a-model']], [['rollout', 'pause', 'm']], [['models', '--bogus']]])(
  'wrong usage %j ends with 2 and points at --help',
  async (argv) => {
    expect(await runCli(argv)).toBe(2);
    expect(stderr).toContain('--help');
    expect(api.asked).toEqual([]);
  },
);

test('an API that does not answer is one sentence with the way out', async () => {
  vi.stubEnv('SERIN_API_URL', 'http://127.0.0.1:9');
  expect(await runCli(['rollback', 'm', '--reason', 'r'])).toBe(1);
  expect(stderr).toMatch(/nothing answers at http:\/\/127\.0\.0\.1:9 .*serin up/);
});

test('without a token or credentials the command says where they come from', async () => {
  vi.stubEnv('SERIN_TOKEN', '');
  expect(await runCli(['projects'])).toBe(4);
  expect(stderr).toContain('serin up');
});

test('a training is followed over long polls to its end', async () => {
  api.answers['POST /v1/models/m/runs'] = [operation('running')];
  api.answers['GET /v1/operations/train%2Fm%2Ft%2F1?wait=true'] = [
    operation('running'),
    operation('completed', { result: { runId: 'r', dataset: 'd', verdict: 'pass', version: 3, stoppedBy: [] } }),
  ];
  expect(await runCli(['train', 'm', 't'])).toBe(0);
  expect(stdout).toBe('run r passed its gates and is m v3\n');
  expect(stderr.match(/is running/g)).toHaveLength(1);
});

test('a training that a gate stopped ends with 1 and the sentences of the gates', async () => {
  const result = { runId: 'r', dataset: 'd', verdict: 'fail', version: null, stoppedBy: ['auc is 0.5'] };
  api.answers['POST /v1/models/m/runs'] = [operation('completed', { result })];
  expect(await runCli(['train', 'm', 't'])).toBe(1);
  expect(stdout).toContain('auc is 0.5');
});

test('a workflow that failed ends with the code it failed with', async () => {
  const failed = { code: 'DATASET_EMPTY', title: '', status: 422, detail: 'no rows' };
  api.answers['POST /v1/models/m/datasets'] = [operation('running')];
  api.answers['GET /v1/operations/train%2Fm%2Ft%2F1?wait=true'] = [operation('failed', { problem: failed })];
  expect(await runCli(['dataset', 'build', 'm', 't'])).toBe(1);
  expect(stderr).toContain('DATASET_EMPTY');
});

test('a dataset that comes out otherwise than its digest ends with 1', async () => {
  const rebuilt = (same: boolean) =>
    operation('completed', { result: { dataset: '9f86d081884c7d65', rebuilt: '60303ae22b998861', same } });
  api.answers['POST /v1/datasets/9f86/rebuilds'] = [rebuilt(true), rebuilt(false)];
  expect(await runCli(['dataset', 'rebuild', '9f86'])).toBe(0);
  expect(stdout).toBe('dataset 9f86d081884c came out the same, byte for byte\n');
  expect(await runCli(['dataset', 'rebuild', '9f86'])).toBe(1);
  expect(stdout).toContain('dataset 9f86d081884c came out as 60303ae22b99');
});

test('a row is explained by its row_id alone', async () => {
  expect(await runCli(['dataset', 'explain', '9f86', '--row', 'first'])).toBe(1);
  expect(stderr).toContain('--row must be a row_id, a whole number, got "first"');
});

test('--no-wait ends with 8 and says where to look', async () => {
  api.answers['POST /v1/models/m/runs'] = [operation('running')];
  expect(await runCli(['train', 'm', 't', '--no-wait'])).toBe(8);
  expect(stdout).toContain('http://ui/1');
});

test('an approval names the evidence that stands now, after showing what it says', async () => {
  api.answers['GET /v1/rollouts?model=m&limit=1'] = [{ body: { rollouts: [{ version: 2 }] } }];
  api.answers['GET /v1/rollouts/m/2'] = [
    {
      body: {
        version: 2,
        evidenceDigest: 'abcd',
        looks: [{ look: 1, verdict: 'advance', findings: [{ verdict: 'advance', sentence: 'no harm' }] }],
      },
    },
  ];
  api.answers['POST /v1/rollouts/m/2/commands'] = [
    { body: { phase: 'ramping', details: '**m v2**: on its way', commandId: 'c' } },
  ];
  expect(await runCli(['rollout', 'approve', 'm', '--reason', 'sound'])).toBe(0);
  expect(stderr).toContain('advance: no harm');
  expect(stdout).toBe('m v2: on its way\n');
  expect(api.asked.at(-1)?.body).toEqual({ type: 'approve', reason: 'sound', evidenceDigest: 'abcd' });
});

test('a pinned approval sends the evidence that was pinned', async () => {
  api.answers['GET /v1/rollouts/m/2'] = [{ body: { version: 2, evidenceDigest: 'newer', looks: [] } }];
  api.answers['POST /v1/rollouts/m/2/commands'] = [problem('APPROVAL_STALE', 409)];
  expect(await runCli(['rollout', 'approve', 'm', 'v2', '--reason', 'sound', '--evidence', 'abcd'])).toBe(1);
  expect(api.asked.at(-1)?.body).toMatchObject({ evidenceDigest: 'abcd' });
});

test('every command has a description and an example, and the reference names it', async () => {
  const reference = await readFile(new URL('../docs/reference/cli.md', import.meta.url), 'utf8');
  const commands = leavesOf(await createProgram(undefined, () => undefined));
  expect(commands.length).toBeGreaterThan(35);
  for (const { path, command } of commands) {
    let help = '';
    command.configureOutput({ writeOut: (text) => (help += text) }).outputHelp();
    expect({ path, described: command.description() !== '', example: help.includes('Example:') }).toEqual({
      path,
      described: true,
      example: true,
    });
    expect(reference).toContain(`\`${path}`);
  }
});

function leavesOf(command: Command, prefix = ''): { path: string; command: Command }[] {
  const path = `${prefix}${command.name()}`;
  const below = command.commands.flatMap((each) => leavesOf(each, `${path} `));
  return below.length === 0 || path === 'serin runs' || path === 'serin models' ? [{ path, command }, ...below] : below;
}

async function startFakeApi(): Promise<FakeApi> {
  const asked: FakeApi['asked'] = [];
  const fake: { answers: FakeApi['answers'] } = { answers: {} };
  const server: Server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const text = Buffer.concat(chunks).toString();
      const { method = '', url = '', headers } = request;
      asked.push({
        method,
        path: url,
        token: headers.authorization ?? '',
        body: text === '' ? null : JSON.parse(text),
      });
      const queue = fake.answers[`${method} ${url}`] ?? [];
      const answer = (queue.length > 1 ? queue.shift() : queue[0]) ?? {
        ...problem('NOT_FOUND', 404, `${method} ${url} was not expected`),
      };
      response.writeHead(answer.status ?? 200, { 'content-type': 'application/json' }).end(JSON.stringify(answer.body));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return Object.assign(fake, {
    asked,
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: () => void server.close(),
  });
}
