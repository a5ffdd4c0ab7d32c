/** The stored rows of one key as a view sees them, and what became of each of them at an instant. */
import { OPERATIONS } from '../../domain/features/log-file.ts';
import type { SourceEvent } from '../../domain/features/dataset-explanation.ts';
import type { FeatureViewSpec, KeyPart, SourceSpec } from '../../domain/project/spec.ts';
import type { Fact } from '../history/fact.ts';
import { addFact, createHistory, type KeyHistory } from '../history/history.ts';
import type { Instant } from '../../domain/instant.ts';
import { comparePositions } from '../history/order.ts';
import type { HistoryOutput, HistoryPlan } from '../history/plan.ts';
import { cutOf, eachLive, isKnown, standingOf, takesPart, tombstoneInForce, windowAt } from '../history/selection.ts';
import { keyColumnNames } from './dataset-questions.ts';
import { logName } from './dataset-log.ts';
import { SQL_TYPES } from './ingest-sql.ts';
import { type DuckDb, type ScalarValue, textSql } from './duckdb.ts';
import { columnsRead, type FactReach, streamFacts } from './history-replay.ts';

/** The unfolded history of one key; null when a part is null or no row has it. The source's log has been opened. */
export async function readKeyHistory(
  duckdb: DuckDb,
  plan: HistoryPlan,
  definition: { readonly view: Pick<FeatureViewSpec, 'features'>; readonly source: SourceSpec },
  key: readonly ScalarValue[],
  reach: FactReach,
): Promise<KeyHistory | null> {
  if (key.includes(null)) return null;
  const values =
    plan.keyParts.length === 0 ? ['CAST(0 AS BIGINT)'] : key.map((value, i) => keySql(value, plan.keyParts[i]!));
  const parts = keyColumnNames(plan.keyParts).map((name, i) => `${values[i]!} AS ${name}`);
  await duckdb.run(`CREATE OR REPLACE TABLE key AS SELECT CAST(0 AS BIGINT) AS id, ${parts.join(', ')}`);
  const history = createHistory(plan);
  let any = false;
  const columns = columnsRead(definition.view, definition.source);
  for await (const facts of streamFacts(duckdb, plan, columns, reach)) {
    for (const { fact } of facts) addFact(plan, history, fact);
    any ||= facts.length > 0;
  }
  return any ? history : null;
}

function keySql(value: ScalarValue, { type }: KeyPart): string {
  return `CAST(${typeof value === 'string' ? textSql(value) : String(value)} AS ${SQL_TYPES[type]})`;
}

/** What an output's value was made of, and what was not used of what lay in its reach; both newest first. */
export interface Selected {
  readonly used: readonly Fact[];
  readonly leftOut: readonly { readonly fact: Fact; readonly because: LeftOutReason; readonly by: Fact | null }[];
  readonly window: { readonly start: Instant | null; readonly end: Instant } | null;
}

/** `replaced` by a version that stands here, or by a mark of one that is elsewhere or takes the row back (`gone`). */
export type LeftOutReason = 'replaced' | 'gone' | 'ended' | 'filtered';

export function selectionOf(plan: HistoryPlan, output: HistoryOutput, history: KeyHistory, asOf: Instant): Selected {
  const cut = cutOf(plan, asOf);
  const window = output.over === null ? null : windowAt(output.over, cut);
  const inWindow = ({ eventAt }: Fact): boolean =>
    window === null || ((window.start === null || eventAt > window.start) && eventAt <= window.end);
  const ender = tombstoneInForce(history.tombstones, cut);
  const live = new Set<Fact>();
  eachLive(plan, history, cut, Infinity, ender, (fact) => {
    live.add(fact);
    return true;
  });
  let used = [...live].filter((fact) => inWindow(fact) && takesPart(output, fact));
  if (window === null) used = used.slice(0, 1);
  const chosen = window === null ? used[0] : undefined;
  const leftOut = history.facts
    .filter(
      (fact) =>
        fact.kind === 'put' &&
        fact.eventAt <= cut &&
        isKnown(fact, cut, Infinity) &&
        inWindow(fact) &&
        !used.includes(fact),
    )
    // of a latest value only what would have come before it
    .filter((fact) => chosen === undefined || comparePositions(fact, chosen) > 0 || isVersionOf(plan, fact, chosen))
    .toReversed()
    .map((fact): Selected['leftOut'][number] => {
      const standing = standingVersion(plan, history, fact, cut);
      if (standing !== undefined && standing !== fact)
        return { fact, because: standing.kind === 'put' ? 'replaced' : 'gone', by: standing };
      if (ender !== null && comparePositions(fact, ender) < 0) return { fact, because: 'ended', by: ender };
      return { fact, because: 'filtered', by: null };
    });
  return { used, leftOut, window };
}

function isVersionOf({ identity }: HistoryPlan, fact: Fact, of: Fact): boolean {
  return identity === 'row_id'
    ? fact.identity === of.identity
    : identity === 'key_event' && fact.eventAt === of.eventAt;
}

function standingVersion(plan: HistoryPlan, history: KeyHistory, fact: Fact, cut: Instant): Fact | undefined {
  if (plan.identity === 'append') return fact;
  const versions =
    plan.identity === 'row_id'
      ? history.versionsOf(fact.identity!)
      : // by position, which among facts of one time is the order of knowledge
        history.facts.filter(({ eventAt }) => eventAt === fact.eventAt);
  return standingOf(versions, cut, Infinity);
}

/** The facts with a sequence in `(after, upTo]` that changed, or could have changed, an output at an instant; newest first. */
export function newlyKnown(
  plan: HistoryPlan,
  output: HistoryOutput,
  history: KeyHistory,
  asOf: Instant,
  after: number,
  upTo: number,
): Fact[] {
  const cut = cutOf(plan, asOf);
  const window = output.over === null ? null : windowAt(output.over, cut);
  const isIn = ({ eventAt }: Fact): boolean =>
    eventAt <= cut && (window === null || ((window.start === null || eventAt > window.start) && eventAt <= window.end));
  const isNew = (fact: Fact): boolean => fact.seq > after && fact.seq <= upTo && isKnown(fact, cut, Infinity);
  // a version that leaves the window matters by the one that it replaces
  const touches = (fact: Fact): boolean =>
    isIn(fact) ||
    (plan.identity === 'row_id' &&
      history.versionsOf(fact.identity!).some((each) => each.kind === 'put' && isIn(each)));
  const tombstones = history.tombstones.filter((fact) => isNew(fact) && fact.eventAt <= cut);
  return [...history.facts.filter((fact) => isNew(fact) && touches(fact)), ...tombstones].toSorted(
    (a, b) => b.seq - a.seq,
  );
}

/** The stored rows of those numbers. */
export async function readSourceEvents(
  duckdb: DuckDb,
  source: string,
  seqs: Iterable<number>,
): Promise<Map<number, SourceEvent>> {
  const wanted = [...new Set(seqs)];
  const events = new Map<number, SourceEvent>();
  if (wanted.length === 0) return events;
  for (const row of await duckdb.rows(`
    SELECT CAST(event_id AS VARCHAR) AS id, ingest_seq, event_at, available_at, op FROM ${logName(source)}
    WHERE ingest_seq IN (${wanted.join(', ')})`)) {
    const seq = row['ingest_seq'] as number;
    events.set(seq, {
      source,
      eventId: row['id'] as string,
      seq,
      eventAt: row['event_at'] as number,
      availableAt: row['available_at'] as number,
      operation: OPERATIONS[row['op'] as number]!,
    });
  }
  return events;
}
