import { DefaultLogger, Runtime, Worker } from '@temporalio/worker';
import { readdirSync, readFileSync } from 'node:fs';
import { beforeAll, expect, test } from 'vitest';
import * as workflows from '../../workflows/workflows.ts';
import { WORKFLOW_BUNDLE } from '../../workers/workflow-bundle.ts';

const HISTORIES = new URL('../histories/', import.meta.url);
const DOCTORED = new URL('../histories/doctored/', import.meta.url);

// the doctored ones fail as they should: nobody needs to read of it
beforeAll(() => {
  Runtime.install({
    logger: new DefaultLogger('ERROR', () => undefined),
    telemetryOptions: { logging: { filter: 'OFF', forward: {} } },
  });
});

function read(folder: URL): { workflowId: string; history: unknown; type: string }[] {
  return readdirSync(folder)
    .filter((file) => file.endsWith('.json'))
    .map((file) => ({
      workflowId: file,
      history: JSON.parse(readFileSync(new URL(file, folder), 'utf8')),
      type: file.split('.')[0]!,
    }));
}

async function replay(folder: URL): Promise<Map<string, Error | undefined>> {
  const outcomes = new Map<string, Error | undefined>();
  async function* histories() {
    yield* read(folder);
  }
  const results = Worker.runReplayHistories({ workflowBundle: { codePath: WORKFLOW_BUNDLE } }, histories());
  for await (const result of results) outcomes.set(result.workflowId, result.error);
  return outcomes;
}

test('every workflow type has a stored history', () => {
  const stored = new Set(read(HISTORIES).map(({ type }) => type));
  expect(Object.keys(workflows).filter((type) => !stored.has(type))).toEqual([]);
});

test('the stored histories replay on the code of today', async () => {
  const outcomes = await replay(HISTORIES);
  expect([...outcomes].filter(([, error]) => error !== undefined)).toEqual([]);
  expect(outcomes.size).toBeGreaterThanOrEqual(Object.keys(workflows).length);
});

test('a doctored history is told from a true one', async () => {
  const outcomes = await replay(DOCTORED);
  expect(outcomes.size).toBeGreaterThan(0);
  for (const error of outcomes.values()) expect(error?.name).toBe('DeterminismViolationError');
});
