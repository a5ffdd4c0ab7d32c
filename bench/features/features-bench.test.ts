/** Needs the compiled contenders: `npx tsc -p tsconfig.build.json`. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { runFeaturesBench } from './features-bench.ts';
import { tableOf } from './report.ts';

test(
  'a small run has no wrong row of Serin, finds those of the plain joins, and says why Feast is not there',
  { timeout: 300_000 },
  async () => {
    const folder = await mkdtemp(join(tmpdir(), 'serin-bench-'));
    onTestFinished(() => rm(folder, { recursive: true }));
    const said: string[] = [];
    const benches = await runFeaturesBench(
      folder,
      { rows: 4000, rounds: 1, only: ['latest', 'windows', 'wide'], feast: false },
      (line) => said.push(line),
    );

    const lines = benches.flatMap(({ name, lines: all }) =>
      all.map((line) => [`${name}: ${line.contender}`, line] as const),
    );
    const judged = lines.filter(([, { wrong }]) => wrong !== null).map(([name, { wrong }]) => [name, wrong!.rows > 0]);
    expect(Object.fromEntries(judged)).toEqual({
      'latest: DuckDB by hand, plain ASOF': true,
      'latest: Serin': false,
      'windows: DuckDB by hand, window frames': true,
      'windows: Serin, exact windows': false,
      'wide: Serin': false,
    });
    const ran = lines.filter(([, { rounds }]) => rounds.length > 0).map(([, { rounds }]) => rounds[0]!);
    expect(ran).toHaveLength(6);
    for (const { cpuSeconds, peakMiB } of ran) {
      expect(cpuSeconds).toBeGreaterThan(0);
      expect(peakMiB).toBeGreaterThan(10);
    }
    expect(tableOf(benches[0]!)).toMatch(/Feast +– .*left out \(--no-feast\)/);
    expect(said.length).toBeGreaterThan(5);
  },
);
