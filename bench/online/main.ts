/**
 * `npm run bench -- online [--quick] [--sections reads,arrivals,writes,streaming] [--no-feast]`: the online store beside a
 * hand-written one and Feast, on Redis and PostgreSQL of its own. Prints tables; JSON goes to bench/results/online.json.
 */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { dropAll } from '../../features/online/guarded-write.ts';
import { openOnlineStore, prepareStore } from '../../features/online/open-store.ts';
import { loadConfig } from '../../platform/config.ts';
import { removePostgresData, startPostgres, type RunningPostgres } from '../../platform/embedded/postgres.ts';
import { obtainRedis, startRedis, type RunningRedis } from '../../platform/embedded/redis.ts';
import { createLogger } from '../../platform/logger.ts';
import { machine } from '../features/report.ts';
import { type FeastPeer, openFeast } from './feast-peer.ts';
import { type ArrivalLine, measureArrivals, measureReads, type ReadLine } from './read-bench.ts';
import { readingProject } from './reading-project.ts';
import { printReport, type Report, type StreamingLine, type WriteLine } from './report.ts';
import { fillPostgresByHand, fillRedisByHand, fillSerin } from './stored-data.ts';
import { measureStreaming, type StreamingResult } from './streaming.ts';

const SECTIONS = ['reads', 'arrivals', 'writes', 'streaming'] as const;
const ENTITIES = [1, 50, 100] as const;
/** About a quarter of what one core does on a quiet machine. */
const ARRIVALS = { 1: 500, 50: 100, 100: 50 } as const;

const { values: options } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    sections: { type: 'string', default: SECTIONS.join(',') },
    'no-feast': { type: 'boolean', default: false },
    out: { type: 'string', default: 'bench/results/online.json' },
  },
});
const { quick } = options;
const sections = new Set(options.sections.split(','));
const unknown = [...sections].filter((section) => !SECTIONS.some((known) => known === section));
if (unknown.length > 0) {
  console.error(`--sections knows ${SECTIONS.join(', ')}, not ${unknown.join(', ')}`);
  process.exit(2);
}
const say = (line: string): void => console.error(line);

const workDir = await mkdtemp(join(tmpdir(), 'serin-bench-online-'));
const logger = createLogger({ service: 'bench', node: 'bench', level: 'error' });
const redis = await startRedis({
  program: await obtainRedis({ config: loadConfig(), onProgress: say }),
  dir: join(workDir, 'redis'),
  logFile: join(workDir, 'redis.log'),
  logger,
});
const postgres = await startPostgres({
  dir: join(workDir, 'postgres'),
  logFile: join(workDir, 'postgres.log'),
  logger,
});
try {
  const report = await measure(redis, postgres);
  console.log(printReport(report));
  await mkdir(join(options.out, '..'), { recursive: true });
  await writeFile(options.out, `${JSON.stringify(report, null, 2)}\n`);
  say(`written to ${options.out}`);
} finally {
  await Promise.all([redis.stop(), postgres.stop()]);
  await removePostgresData(join(workDir, 'postgres'));
  await rm(workDir, { recursive: true, force: true });
}

async function measure(redisServer: RunningRedis, postgresServer: RunningPostgres): Promise<Report> {
  const before = machine();
  const reads: ReadLine[] = [];
  const writes: WriteLine[] = [];
  let feastNote: string | null = options['no-feast'] ? 'Feast was left out (--no-feast)' : null;
  if (sections.has('reads') || sections.has('writes')) {
    await prepareStore(postgresServer.url);
    for (const [name, url] of [
      ['redis', redisServer.url],
      ['postgres', postgresServer.url],
    ] as const) {
      const outcome = await compareOn(name, url);
      reads.push(...outcome.reads);
      writes.push(...outcome.writes);
      feastNote ??= outcome.feastNote;
    }
  }
  const arrivals = sections.has('arrivals') ? await arrivalsOn(redisServer.url) : [];
  const streaming: StreamingLine[] = [];
  if (sections.has('streaming')) {
    for (const [store, onlineStoreUrl] of [
      ['postgres', `${postgresServer.url}_streaming`],
      ['redis', `${redisServer.url}?namespace=streaming`],
    ] as const) {
      for (const killed of [false, true]) {
        say(`streaming into ${store}${killed ? ', the streamer killed on the way' : ''}`);
        streaming.push({ store, killed, ...(await streamInto(store, onlineStoreUrl, killed)) });
      }
    }
  }
  return { machine: { before, after: machine() }, quick, reads, arrivals, writes, streaming, feastNote };
}

/** The same values in Serin, in a hand-written store and in Feast, on one server. */
async function compareOn(
  name: 'redis' | 'postgres',
  url: string,
): Promise<{ reads: ReadLine[]; writes: WriteLine[]; feastNote: string | null }> {
  const project = readingProject(2, 4);
  const customers = quick ? 2_000 : 20_000;
  const opened = openOnlineStore(url, { name: 'bench', connections: 2 });
  const { store } = opened;
  say(`filling ${name}`);
  // the first time the code is compiled on the way
  await fillSerin(store, project, customers);
  for (const view of project.views) await dropAll(store, `${view.name}@1`);
  const serinRows = await fillSerin(store, project, customers);
  const hand = await (name === 'redis' ? fillRedisByHand : fillPostgresByHand)(url, store, project, customers);
  let feast: FeastPeer | string = 'left out';
  if (!options['no-feast']) {
    const folder = join(workDir, `feast-${name}`);
    await mkdir(folder);
    feast = await openFeast(
      { onlineStore: feastStore(name, url), workDir: folder, views: 2, features: 4, customers },
      say,
    );
  }
  const peer = typeof feast === 'string' ? null : feast;
  try {
    const bench = {
      name,
      store,
      hand,
      feast: peer,
      project,
      customers,
      rounds: quick ? 1 : 6,
      msEach: quick ? 200 : 1_000,
    };
    const reads: ReadLine[] = [];
    for (const entities of sections.has('reads') ? ENTITIES : []) {
      say(`reading ${entities} from ${name}`);
      reads.push(await measureReads(bench, entities));
    }
    const writes = [{ store: name, serinRowsPerSecond: serinRows, feastRowsPerSecond: peer?.rowsPerSecond ?? null }];
    return { reads, writes, feastNote: typeof feast === 'string' ? feast : null };
  } finally {
    await Promise.all([hand.close(), opened.close(), peer?.close()]);
  }
}

function feastStore(name: 'redis' | 'postgres', url: string): Record<string, string | number> {
  const { hostname, port, username, password, pathname } = new URL(url);
  if (name === 'redis') return { type: 'redis', connection_string: `${hostname}:${port}` };
  const database = pathname.slice(1);
  return {
    type: 'postgres',
    host: hostname,
    port: Number(port),
    database,
    db_schema: 'feast',
    user: username,
    password,
    sslmode: 'disable',
  };
}

/** 50 features of 5 views. */
async function arrivalsOn(url: string): Promise<ArrivalLine[]> {
  const project = readingProject(5, 10);
  const customers = quick ? 2_000 : 100_000;
  const opened = openOnlineStore(`${url}?namespace=arrivals`, { name: 'bench', connections: 1 });
  try {
    say('filling redis with 5 views');
    await fillSerin(opened.store, project, customers);
    const lines: ArrivalLine[] = [];
    for (const entities of ENTITIES) {
      say(`${entities} entities at ${ARRIVALS[entities]} reads a second`);
      lines.push(
        await measureArrivals(
          { store: opened.store, project, customers },
          { entities, readsPerSecond: ARRIVALS[entities], seconds: quick ? 1 : 20 },
        ),
      );
    }
    return lines;
  } finally {
    await opened.close();
  }
}

async function streamInto(store: string, onlineStoreUrl: string, killed: boolean): Promise<StreamingResult> {
  const databaseUrl = `${postgres.url}_streaming`;
  const isPostgres = store === 'postgres';
  await recreateDatabase(postgres.url, databaseUrl);
  return measureStreaming({
    databaseUrl,
    onlineStoreUrl,
    workDir,
    eventsPerSecond: quick ? 500 : 5_000,
    eventsPerRequest: quick ? 10 : 50,
    seconds: quick ? 3 : killed ? 10 : 30,
    warmSeconds: quick ? 0 : 5,
    customers: quick ? 500 : 20_000,
    serverPids: isPostgres ? [postgres.pid] : [postgres.pid, redis.pid],
    killAt: killed ? 0.5 : null,
  });
}

async function recreateDatabase(adminUrl: string, url: string): Promise<void> {
  const { default: pg } = await import('pg');
  const client = new pg.Client({ connectionString: adminUrl });
  await client.connect();
  const name = client.escapeIdentifier(new URL(url).pathname.slice(1));
  await client.query(`drop database if exists ${name} with (force)`);
  await client.query(`create database ${name}`);
  await client.end();
}
