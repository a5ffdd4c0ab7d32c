/** What the leakage rules ask of the spine and of the logs. */
import { quoteIdentifier as quote } from '../../domain/project/expression.ts';
import type { DatasetDefinitions } from './dataset-definitions.ts';
import { logName, VISIBLE_AT_SQL } from './dataset-log.ts';
import { type DuckDb, textSql } from './duckdb.ts';
import type { AvailabilityCount, AvailabilityDelay, OwnEventCount } from './leakage.ts';

/** Delays are read off so many events of a log at most; evenly spread over its sequence. */
const DELAY_SAMPLE = 100_000;

/** For each view over the label's source, the rows that can see their own event, which holds the label. */
export async function countOwnEvents(
  duckdb: DuckDb,
  { spine, label, featureSet }: DatasetDefinitions,
  spinePath: string,
): Promise<OwnEventCount[]> {
  // a label over a window is of events after the row's instant, which no view can see
  if (label.window !== undefined) return [];
  const counts: OwnEventCount[] = [];
  for (const use of featureSet.uses) {
    const view = featureSet.views[use.view]!;
    if (view.plan.source !== spine.source) continue;
    const horizon = view.kind === 'tiles' ? view.plan.horizonMicros : view.plan.horizon;
    const isSeen =
      view.kind === 'history' && view.plan.boundary === 'exclusive'
        ? 'own_visible_at < as_of'
        : 'own_visible_at <= as_of';
    const isInReach = horizon === null ? 'TRUE' : `own_event_at > as_of - ${horizon}`;
    const [row] = await duckdb.rows(`
      SELECT COUNT(*) AS rows, COUNT(*) FILTER (${quote(`own ${use.alias}`)} AND ${isSeen} AND ${isInReach}) AS visible
      FROM read_parquet(${textSql(spinePath)})`);
    counts.push({
      alias: use.alias,
      view: view.plan.id,
      source: view.plan.source,
      rows: row!['rows'] as number,
      visible: row!['visible'] as number,
    });
  }
  return counts;
}

/** For each view over the label's source, the events that were recorded as available no later than they happened. */
export async function countAssumedAvailability(
  duckdb: DuckDb,
  { label, featureSet }: DatasetDefinitions,
): Promise<AvailabilityCount[]> {
  const uses = featureSet.uses.flatMap(({ alias, view }) => {
    const { kind, plan } = featureSet.views[view]!;
    // an exclusive view does not count what is known at the very instant
    return plan.source === label.source && !(kind === 'history' && plan.boundary === 'exclusive')
      ? [{ alias, view: plan.id, source: plan.source }]
      : [];
  });
  if (uses.length === 0) return [];
  const [row] = await duckdb.rows(
    `SELECT COUNT(*) AS events, COUNT(*) FILTER (available_at <= event_at) AS at_once FROM ${logName(label.source)}`,
  );
  return uses.map((use) => ({ ...use, events: row!['events'] as number, atOnce: row!['at_once'] as number }));
}

/** For each view over another source than the label's, how late its events become known, and how late the label does. */
export async function measureDelays(
  duckdb: DuckDb,
  { label, featureSet }: DatasetDefinitions,
  spinePath: string,
  rowsOf: (source: string) => number,
): Promise<AvailabilityDelay[]> {
  const others = featureSet.uses.filter(({ view }) => featureSet.views[view]!.plan.source !== label.source);
  if (others.length === 0) return [];
  const labelDelay =
    label.window === undefined
      ? await median(duckdb, `SELECT own_visible_at - as_of AS delay FROM read_parquet(${textSql(spinePath)})`)
      : label.window.gapMicros + label.window.horizonMicros + label.window.delayMicros;
  if (labelDelay === null) return [];
  const delays = new Map<string, number | null>();
  for (const { view } of others) {
    const { source } = featureSet.views[view]!.plan;
    if (delays.has(source)) continue;
    const every = Math.max(1, Math.ceil(rowsOf(source) / DELAY_SAMPLE));
    const sample = `SELECT ${VISIBLE_AT_SQL} - event_at AS delay FROM ${logName(source)} WHERE op = 0 AND ingest_seq % ${every} = 0`;
    delays.set(source, await median(duckdb, sample));
  }
  return others.flatMap(({ alias, view }) => {
    const { id, source } = featureSet.views[view]!.plan;
    const delay = delays.get(source) ?? null;
    return delay === null ? [] : [{ alias, view: id, source, delayMicros: delay, labelDelayMicros: labelDelay }];
  });
}

async function median(duckdb: DuckDb, delays: string): Promise<number | null> {
  const [row] = await duckdb.rows(`SELECT QUANTILE_DISC(delay, 0.5) AS median FROM (${delays})`);
  return row!['median'] as number | null;
}
