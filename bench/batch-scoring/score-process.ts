/**
 * Scores a folder's `rows.parquet` into `scores/` as a worker does, but for the database and Temporal:
 * `node score-process.js FOLDER ROWS PART_ROWS`. Prints what the whole process has cost, its start included.
 */
import { mkdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { keepPart, claimOutput, completeOutput, partInMaking } from '../../activities/score-output.ts';
import { planScoreParts, type ScoredPart } from '../../domain/scoring/score-plan.ts';
import { DuckDb } from '../../features/offline/duckdb.ts';
import { scorePart } from '../../inference/batch/score-part.ts';
import { aBenchVersion } from './version.ts';

const startedMs = performance.now();
const [folder, rowsText, partRowsText] = process.argv.slice(2);
if (partRowsText === undefined) throw new Error('usage: score-process.js FOLDER ROWS PART_ROWS');
const path = join(folder!, 'rows.parquet');
const output = join(folder!, 'scores');
const request = 'benchmark-request';
await rm(output, { recursive: true, force: true });
await claimOutput(output, request);
const parts = planScoreParts([{ rows: Number(rowsText) }], Number(partRowsText));
const scored: ScoredPart[] = [];
for (const [number, { slices, firstRow }] of parts.entries()) {
  const work = join(folder!, 'work');
  await mkdir(work, { recursive: true });
  const settings = { memory: '1GB', threads: 1, tempDir: work };
  const outputPath = await partInMaking(output, request, String(number));
  const duckdb = await DuckDb.open(settings);
  try {
    const result = await scorePart(
      duckdb,
      {
        ...aBenchVersion(),
        modelPath: join(folder!, 'model.onnx'),
        asOf: { kind: 'column', column: 'as_of' },
        featuresReady: true,
        knowledge: null,
        batch: '0123456789abcdef',
        slices: slices.map(({ from, to }) => ({ path, from, to })),
        firstRow,
        outputPath,
        folder: work,
        duckdb: settings,
      },
      () => undefined,
    );
    scored.push({ ...(await keepPart(output, request, number, outputPath)), ...result });
  } finally {
    duckdb.close();
    await rm(work, { recursive: true, force: true });
  }
}
const { size, mtimeMs } = await stat(path);
await completeOutput(output, scored, {
  format: 1,
  request,
  plan: '',
  batch: '0123456789abcdef',
  model: 'bench',
  version: 1,
  versionSha256: '',
  featureSet: 'bench@1',
  asOf: null,
  knownSeq: null,
  inputs: [{ path, bytes: size, modifiedMs: mtimeMs, rows: Number(rowsText) }],
  rows: scored.reduce((sum, { rows }) => sum + rows, 0),
  unscored: scored.reduce((sum, { unscored }) => sum + unscored, 0),
  positives: scored.reduce((sum, { positives }) => sum + positives, 0),
});
const { user, system } = process.cpuUsage();
const usage = {
  name: 'serin',
  cpuSeconds: (user + system) / 1e6,
  seconds: (performance.now() - startedMs) / 1e3,
  residentMiB: process.resourceUsage().maxRSS / 1024,
};
process.stdout.write(`${JSON.stringify(usage)}\n`);
