import { execFile } from 'node:child_process';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { compiledModule } from '../../domain/compiled-module.ts';

const DEMO = fileURLToPath(compiledModule(import.meta.url, '../../examples/flights/demo/main.ts'));

let folder: string;
let told: { readonly code: number; readonly stdout: string; readonly stderr: string };

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'serin-demo-'));
  await chmod(folder, 0o755); // PostgreSQL may run as another user
  told = await new Promise((resolve) => {
    const args = ['--enable-source-maps', DEMO, '--sample', '0.05', '--exit'];
    const env = { ...process.env, SERIN_HOME: join(folder, '.serin') };
    execFile(process.execPath, args, { env, maxBuffer: 64 * 1024 ** 2 }, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : Number(error.code ?? -1), stdout, stderr }),
    );
  });
}, 1_200_000);
afterAll(() => rm(folder, { recursive: true, force: true }));

/** The summary's row of a training: its cells, without the numbers between. */
function rowOf(training: string): { version: string; outcome: string } | undefined {
  const rows = told.stdout.split('\n').map((line) => line.split(/ {2,}/));
  const cells = rows.find(([version, name]) => name === training && /^v\d+$/.test(version ?? ''));
  return cells && { version: cells[0]!, outcome: cells.at(-1)! };
}

test('the small demo ends with success and says nothing of a surprise', () => {
  expect(told.stdout).not.toContain('NOT AS DESCRIBED');
  expect(told).toMatchObject({ code: 0 });
});

test('two models are promoted, the leaking one is stopped, the harmful one is rolled back', () => {
  expect({
    logistic: rowOf('logistic'),
    boosted: rowOf('boosted'),
    leaky: rowOf('leaky'),
    withAirportStatus: rowOf('with-airport-status'),
  }).toEqual({
    logistic: { version: 'v1', outcome: 'promoted' },
    boosted: { version: 'v2', outcome: 'promoted' },
    leaky: { version: 'v3', outcome: 'stopped by a gate' },
    withAirportStatus: { version: 'v4', outcome: 'rolled back' },
  });
});

test('no request fails, and the decision log holds', () => {
  expect(told.stdout).toMatch(/^requests +[\d,]{5,}, failures 0, answered by a fallback 0$/m);
  expect(told.stdout).toMatch(/the decision log holds: \d+ records/);
});
