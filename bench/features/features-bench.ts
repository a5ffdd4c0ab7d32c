/** The three benches of the feature layer: what is compared, how often, and what is promised. */
import { join } from 'node:path';
import { availableParallelism } from 'node:os';
import { mkdir, mkdtemp } from 'node:fs/promises';
import { DuckDb, type DuckDbSettings } from '../../features/offline/duckdb.ts';
import type { Job, Usage } from './contender.ts';
import { type Feast, obtainFeast } from './feast.ts';
import { makeLatestData } from './latest-data.ts';
import { type Bench, type Line, medianUsage, ratio, type Target } from './report.ts';
import { runContender, runFeast } from './run-contender.ts';
import { makeWideData } from './wide.ts';
import { countWrongWindows, makeWindowData, rightWindows } from './windows.ts';
import { countWrong, rightAnswers, sampleRows } from './wrong-rows.ts';

export const BENCHES = ['latest', 'windows', 'wide'] as const;
export type BenchName = (typeof BENCHES)[number];

export interface BenchOptions {
  /** Rows that ask, of `latest` and `wide`; `windows` has three times as many, as far as there are flights. */
  readonly rows: number;
  readonly rounds: number;
  readonly only: readonly BenchName[];
  readonly feast: boolean;
}

type Say = (line: string) => void;

const SAMPLE_ROWS = 1000;
const WIDE_VIEWS = 10;
const MEMORY_MIB = 4096;

export async function runFeaturesBench(folder: string, options: BenchOptions, say: Say): Promise<Bench[]> {
  const benches = { latest: benchLatest, windows: benchWindows, wide: benchWide };
  const done: Bench[] = [];
  for (const name of options.only) {
    await mkdir(join(folder, name));
    done.push(await benches[name](join(folder, name), options, say));
  }
  return done;
}

async function withDuckDb<T>(folder: string, work: (duckdb: DuckDb) => Promise<T>): Promise<T> {
  const duckdb = await DuckDb.open(settings(folder, '4GB'));
  try {
    return await work(duckdb);
  } finally {
    duckdb.close();
  }
}

function settings(folder: string, memory: string): DuckDbSettings {
  return { memory, threads: availableParallelism(), tempDir: join(folder, 'spill') };
}

async function benchLatest(folder: string, { rows, rounds, feast: wanted }: BenchOptions, say: Say): Promise<Bench> {
  say(`latest: making ${rows} rows and their two tables`);
  const data = await withDuckDb(folder, (duckdb) => makeLatestData(duckdb, folder, rows));
  const feast: Feast | string = wanted ? await obtainFeast(say) : 'left out (--no-feast)';
  const output = (name: string): string => join(folder, `joined-${name}.parquet`);
  const contend = async (work: 'latest-serin' | 'latest-plain'): Promise<Usage> =>
    runContender({
      work,
      data,
      output: output(work),
      workDir: await mkdtemp(join(folder, 'run-')),
      duckdb: settings(folder, '4GB'),
    });
  const rounded: Record<'latest-serin' | 'latest-plain' | 'feast', Usage[]> = {
    'latest-serin': [],
    'latest-plain': [],
    feast: [],
  };
  let refusal = typeof feast === 'string' ? feast : '';
  for (let round = 0; round < rounds; round++) {
    for (const work of ['latest-plain', 'latest-serin'] as const) {
      rounded[work].push(await contend(work));
      say(`latest, round ${round + 1}: ${work} ${rounded[work].at(-1)!.cpuSeconds.toFixed(2)} CPU s`);
    }
    // it takes minutes, so that one round has to do
    if (typeof feast === 'string' || round > 0) continue;
    try {
      rounded.feast.push(await runFeast(feast, data, output('feast'), folder));
      say(`latest, round ${round + 1}: feast ${rounded.feast.at(-1)!.cpuSeconds.toFixed(2)} CPU s`);
    } catch (error) {
      refusal = `Feast failed: ${String((error as Error).message)
        .trim()
        .split('\n')
        .at(-1)}`;
      say(`latest: ${refusal}`);
    }
  }
  const wrong = await withDuckDb(folder, async (duckdb) => {
    const right = await rightAnswers(duckdb, data, await sampleRows(duckdb, data, SAMPLE_ROWS));
    const count = async (name: string): Promise<Line['wrong']> => ({
      rows: await countWrong(duckdb, data, output(name), right),
      of: right.size,
    });
    return {
      serin: await count('latest-serin'),
      plain: await count('latest-plain'),
      feast: rounded.feast.length === 0 ? null : await count('feast'),
    };
  });
  const plain = 'DuckDB by hand, plain ASOF';
  const lines: Line[] = [
    {
      contender: plain,
      rounds: rounded['latest-plain'],
      against: null,
      wrong: wrong.plain,
      note: 'knows neither lateness nor versions',
    },
    { contender: 'Serin', rounds: rounded['latest-serin'], against: plain, wrong: wrong.serin, note: '' },
    {
      contender: typeof feast === 'string' ? 'Feast' : `Feast ${feast.version}, DuckDB store`,
      rounds: rounded.feast,
      against: plain,
      wrong: wrong.feast,
      note: refusal === '' ? 'as by default; one round' : refusal,
    },
  ];
  const [bySerin, byFeast] = [ratio(lines, 'Serin', plain)!, ratio(lines, lines[2]!.contender, 'Serin')];
  const targets: Target[] = [
    { claim: 'at most 2.5 × the CPU of the plain join', measured: `${bySerin.toFixed(2)} ×`, met: bySerin <= 2.5 },
    { claim: 'no wrong row', measured: `${wrong.serin!.rows} of ${wrong.serin!.of}`, met: wrong.serin!.rows === 0 },
    {
      claim: 'at least 15 × less CPU than Feast',
      measured: byFeast === null ? refusal : `${byFeast.toFixed(1)} ×`,
      met: byFeast !== null && byFeast >= 15,
    },
  ];
  return {
    name: 'latest',
    what: `${rows} rows, latest values of two views (4 each) with late rows, corrections and TTL`,
    lines,
    targets,
  };
}

async function benchWindows(folder: string, { rows, rounds }: BenchOptions, say: Say): Promise<Bench> {
  const data = await withDuckDb(folder, (duckdb) => makeWindowData(duckdb, folder, rows * 3));
  const works = ['windows-hand', 'windows-serin', 'windows-serin-hops'] as const;
  const rounded = {
    'windows-hand': [] as Usage[],
    'windows-serin': [] as Usage[],
    'windows-serin-hops': [] as Usage[],
  };
  const output = (work: string): string => join(folder, `${work}.parquet`);
  for (let round = 0; round < Math.min(rounds, 2); round++) {
    for (const work of works) {
      const workDir = await mkdtemp(join(folder, 'run-'));
      const job: Job = { work, data, output: output(work), workDir, duckdb: settings(workDir, '2GB') };
      rounded[work].push(await runContender(job));
      say(`windows, round ${round + 1}: ${work} ${rounded[work].at(-1)!.cpuSeconds.toFixed(2)} CPU s`);
    }
  }
  const wrong = await withDuckDb(folder, async (duckdb) => {
    const right = await rightWindows(duckdb, data, SAMPLE_ROWS);
    const count = async (work: string): Promise<NonNullable<Line['wrong']>> => ({
      rows: await countWrongWindows(duckdb, output(work), right),
      of: right.size,
    });
    return { hand: await count('windows-hand'), serin: await count('windows-serin') };
  });
  const hand = 'DuckDB by hand, window frames';
  const lines: Line[] = [
    {
      contender: hand,
      rounds: rounded['windows-hand'],
      against: null,
      wrong: wrong.hand,
      note: 'one clock: a flight happens when it lands',
    },
    {
      contender: 'Serin, exact windows',
      rounds: rounded['windows-serin'],
      against: hand,
      wrong: wrong.serin,
      note: WHOLE_BUILD,
    },
    {
      contender: 'Serin, with the project’s hops',
      rounds: rounded['windows-serin-hops'],
      against: hand,
      wrong: null,
      note: WHOLE_BUILD,
    },
  ];
  const times = ratio(lines, lines[1]!.contender, hand)!;
  return {
    name: 'windows',
    what: `${data.rows} departures, nine windows of origin, destination and route over as many flights`,
    lines,
    targets: [
      { claim: 'at most 1.5 × the CPU of the window query', measured: `${times.toFixed(2)} ×`, met: times <= 1.5 },
      { claim: 'no wrong row', measured: `${wrong.serin.rows} of ${wrong.serin.of}`, met: wrong.serin.rows === 0 },
    ],
  };
}

const WHOLE_BUILD = 'the whole build: two clocks, labels, split, statistics, leakage check';

async function benchWide(folder: string, { rows, rounds }: BenchOptions, say: Say): Promise<Bench> {
  const eventsEach = rows * 5;
  say(`wide: making ${WIDE_VIEWS} logs of ${eventsEach} events`);
  const data = await withDuckDb(folder, (duckdb) =>
    makeWideData(duckdb, folder, { rows, views: WIDE_VIEWS, eventsEach }),
  );
  const job: Omit<Job, 'workDir'> = {
    work: 'wide-serin',
    data,
    output: join(folder, 'joined.parquet'),
    duckdb: settings(folder, '2500MB'),
  } as Job;
  const usage: Usage[] = [];
  for (let round = 0; round < Math.min(rounds, 2); round++) {
    usage.push(await runContender({ ...job, workDir: await mkdtemp(join(folder, 'run-')) } as Job));
    say(`wide, round ${round + 1}: ${usage.at(-1)!.cpuSeconds.toFixed(2)} CPU s`);
  }
  const { cpuSeconds, peakMiB } = medianUsage(usage);
  const wrong = await withDuckDb(folder, async (duckdb) => {
    const right = await rightAnswers(duckdb, data, await sampleRows(duckdb, data, SAMPLE_ROWS / 10));
    return { rows: await countWrong(duckdb, data, job.output, right), of: right.size };
  });
  return {
    name: 'wide',
    what: `${rows} rows × ${WIDE_VIEWS} views × ${eventsEach} events a view, latest values with late rows and TTL`,
    lines: [{ contender: 'Serin', rounds: usage, against: null, wrong, note: '' }],
    targets: [
      { claim: 'no wrong row', measured: `${wrong.rows} of ${wrong.of}`, met: wrong.rows === 0 },
      { claim: 'at most 60 CPU seconds', measured: cpuSeconds.toFixed(1), met: cpuSeconds <= 60 },
      { claim: 'at most 4 GiB', measured: `${(peakMiB / 1024).toFixed(2)} GiB`, met: peakMiB <= MEMORY_MIB },
    ],
  };
}
