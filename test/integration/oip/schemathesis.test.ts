/** Schemathesis reads the OpenAPI document and asks what it can think of; the server has to be what the document says. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { pythonEnvironment } from '../../setup/python-environment.ts';
import { type BothServers, startBothServers } from './both-servers.ts';
import { MODEL } from './routed-model.ts';

const run = promisify(execFile);
const TOOL = 'schemathesis==4.32.5';
const SEED = 20_261_121;
const EXAMPLES_PER_OPERATION = 15;
const TEST_MS = 400_000;
const CHECKS = [
  'not_a_server_error',
  'status_code_conformance',
  'content_type_conformance',
  'response_schema_conformance',
  'unsupported_method',
];

let programs: string | null;
let folder: string;
let both: BothServers;

beforeAll(async () => {
  programs = await pythonEnvironment('schemathesis-venv', [TOOL], 'import schemathesis');
  folder = await mkdtemp(join(tmpdir(), 'serin-schemathesis-'));
  both = await startBothServers();
}, 300_000);
afterAll(async () => {
  await both.close();
  await rm(folder, { recursive: true, force: true });
});

interface Parameter {
  readonly name: string;
  readonly in: string;
  schema: object;
}

/** The document with the names that are served in place of any: others are asked for anyway, as wrong ones. */
async function writeDocument(url: string, models: readonly string[], versions: readonly string[]): Promise<string> {
  const document = (await (await fetch(`${url}/openapi.json`)).json()) as {
    paths: Record<string, Record<string, { parameters: Parameter[] }>>;
  };
  for (const operation of Object.values(document.paths).flatMap((methods) => Object.values(methods))) {
    // a deadline of a moment is refused with 503, as it should be, and would be taken for a fault
    operation.parameters = operation.parameters.filter(({ name }) => name !== 'x-serin-deadline-ms');
    for (const parameter of operation.parameters) {
      if (parameter.in !== 'path') continue;
      if (parameter.name === 'model') parameter.schema = { enum: models };
      if (parameter.name === 'version') parameter.schema = { enum: versions };
    }
  }
  const path = join(folder, `${models[0]}.json`);
  await writeFile(path, JSON.stringify(document));
  return path;
}

async function schemathesis(url: string, document: string): Promise<string> {
  const options = [
    ['--url', url],
    ['--checks', CHECKS.join(',')],
    ['--phases', 'examples,coverage,fuzzing'],
    ['--max-examples', String(EXAMPLES_PER_OPERATION)],
    ['--seed', String(SEED)],
    ['--generation-database', 'none'],
    ['--request-timeout', '20'],
    ['--warnings', 'off'],
    // it would unload what the other operations are asked for
    ['--exclude-path-regex', '/repository/models/'],
  ];
  try {
    const { stdout } = await run(join(programs!, 'schemathesis'), ['run', document, ...options.flat(), '--no-color'], {
      cwd: folder,
      maxBuffer: 64 << 20,
      timeout: TEST_MS - 20_000,
    });
    return stdout;
  } catch (error) {
    const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string };
    throw new Error(`schemathesis found something:\n${stdout.slice(-8_000)}\n${stderr.slice(-2_000)}`);
  }
}

test.each([
  ['of plain files', () => both.files.url, ['m', 'all'], ['1']],
  ['of routes', () => `http://127.0.0.1:${both.routed.port}`, [MODEL], ['0']],
] as const)(
  'a server %s is what its description says',
  async (_kind, url, models, versions) => {
    if (programs === null) return;
    const report = await schemathesis(url(), await writeDocument(url(), models, versions));
    expect(report).toMatch(/No issues found|\d+ passed/);
    expect(Number(/(\d+) generated/.exec(report)?.[1])).toBeGreaterThan(200);
  },
  TEST_MS,
);
