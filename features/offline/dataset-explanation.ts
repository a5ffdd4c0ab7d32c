/** The events behind the cells of a dataset, found again in the logs that it was made from. */
import { SerinError } from '../../domain/errors.ts';
import {
  eventsEach,
  EXPLAINED_EVENTS,
  type FeatureExplanation,
  type LeftOutEvent,
  type RowExplanation,
  type SourceEvent,
} from '../../domain/features/dataset-explanation.ts';
import type { DatasetManifest } from '../../domain/features/dataset-manifest.ts';
import { columnsOf } from '../../domain/project/expression.ts';
import {
  type FeatureSpec,
  type FeatureViewSpec,
  type ProjectSpec,
  type SourceSpec,
  versioned,
} from '../../domain/project/spec.ts';
import { compileHistoryView } from '../history/compile.ts';
import type { Fact } from '../history/fact.ts';
import { type KeyHistory, readHistory } from '../history/history.ts';
import { type Instant, minus } from '../../domain/instant.ts';
import type { HistoryOutput, HistoryPlan } from '../history/plan.ts';
import { datasetDefinitions, type DatasetDefinitions } from './dataset-definitions.ts';
import type { KnowledgeCut, SourceLog } from './dataset-job.ts';
import { labelDefinitions } from './dataset-labels.ts';
import { hasVersions, logName, openLog } from './dataset-log.ts';
import { type DuckDb, type ScalarValue, textSql } from './duckdb.ts';
import { readKeyHistory, readSourceEvents, type Selected, selectionOf } from './key-events.ts';

/** A dataset with the logs that it was made from, or later ones of the same sources. */
export interface OpenDataset {
  readonly digest: string;
  readonly manifest: DatasetManifest;
  readonly project: ProjectSpec;
  /** The dataset's own file. */
  readonly path: string;
  readonly logs: Readonly<Record<string, SourceLog>>;
}

type Row = Readonly<Record<string, ScalarValue>>;

/** @throws INPUT_INVALID for a row that is not in the dataset */
export async function explainRow(duckdb: DuckDb, dataset: OpenDataset, rowId: number): Promise<RowExplanation> {
  const { manifest } = dataset;
  const row = await readRow(duckdb, dataset, rowId);
  const reader = await FeatureEvents.open(duckdb, dataset, manifest.knowledgeCut);
  const features: FeatureExplanation[] = [];
  const atMost = eventsEach(2 * reader.features.length);
  for (const feature of reader.features) features.push(await explainFeature(reader, feature, row, atMost));
  return {
    dataset: dataset.digest,
    row: rowId,
    asOf: row['as_of'] as number,
    split: row['split'] as string,
    request: Object.fromEntries(manifest.requestFields.map((name) => [name, row[name]!])),
    label: {
      name: manifest.label,
      value: row['label'] as number | null,
      status: row['label_status'] as string,
      events: await labelEvents(reader, row),
    },
    features,
  };
}

async function readRow(duckdb: DuckDb, { digest, manifest, path }: OpenDataset, rowId: number): Promise<Row> {
  const [row] = await duckdb.rows(`SELECT * FROM read_parquet(${textSql(path)}) WHERE row_id = ${rowId}`);
  if (row) return row;
  const ids = await duckdb.rows(`SELECT MIN(row_id) AS low, MAX(row_id) AS high FROM read_parquet(${textSql(path)})`);
  throw new SerinError(
    'INPUT_INVALID',
    `the dataset ${digest.slice(0, 12)} has no row ${rowId}; its ${manifest.rows} rows have ids from ${ids[0]!['low']} to ${ids[0]!['high']}`,
    { fields: { dataset: digest, row: rowId } },
  );
}

/** A view feature of the set, and where its values come from. */
export interface ViewFeature {
  readonly plan: HistoryPlan;
  readonly view: FeatureViewSpec;
  readonly source: SourceSpec;
  readonly output: HistoryOutput;
  /** Request fields that hold the key. */
  readonly key: readonly string[];
}

/** Finds the events of features, one key's history at a time; rows of one key and instant are read once. */
export class FeatureEvents {
  readonly duckdb: DuckDb;
  readonly definitions: DatasetDefinitions;
  readonly features: readonly FeatureSpec[];
  readonly #project: ProjectSpec;
  #last: { readonly name: string; readonly history: KeyHistory | null } | null = null;

  private constructor(duckdb: DuckDb, project: ProjectSpec, definitions: DatasetDefinitions) {
    this.duckdb = duckdb;
    this.definitions = definitions;
    this.#project = project;
    this.features = project.featureSets.find((set) => versioned(set) === definitions.featureSet.id)!.features;
  }

  /** Opens the logs of the dataset's sources as they were known at a cut. */
  static async open(
    duckdb: DuckDb,
    { project, manifest, logs }: Pick<OpenDataset, 'project' | 'manifest' | 'logs'>,
    knowledgeCut: KnowledgeCut,
  ): Promise<FeatureEvents> {
    const definitions = datasetDefinitions(project, manifest.model, manifest.featureSet);
    for (const source of definitions.sources) await openLog(duckdb, source, { logs, knowledgeCut });
    return new FeatureEvents(duckdb, project, definitions);
  }

  viewFeature(feature: Extract<FeatureSpec, { kind: 'view' }>): ViewFeature {
    const use = this.definitions.featureSet.uses.find(({ alias }) => alias === feature.alias)!;
    const view = this.definitions.views[use.view]!;
    const source = this.definitions.sources.find(({ name }) => name === view.source)!;
    const entity = this.#project.entities.find(({ name }) => name === view.entity)!;
    // tiles forget the events; the history kernel gives the same values from them
    const plan = compileHistoryView(view, source, entity);
    const output = plan.outputs.find((each) => each.feature === feature.feature && each.window === feature.window)!;
    return { plan, view, source, output, key: use.key };
  }

  /** View features that a feature is made from: itself, or those that a derived one reads, directly or not. */
  viewFeaturesOf(feature: FeatureSpec): ViewFeature[] {
    if (feature.kind === 'view') return [this.viewFeature(feature)];
    const reads = columnsOf(feature.expression);
    return this.features
      .filter(({ name }) => reads.has(name) && name !== feature.name)
      .flatMap((each) => this.viewFeaturesOf(each));
  }

  async history({ plan, view, source, key }: ViewFeature, row: Row): Promise<KeyHistory | null> {
    const asOf = row['as_of'] as number;
    const values = key.map((field) => row[field]!);
    const name = JSON.stringify([plan.id, asOf, values]);
    if (this.#last?.name === name) return this.#last.history;
    const eventAfter: Instant | null = plan.horizon === null ? null : minus(minus(asOf, 1), plan.horizon);
    const reach = { knownUntil: asOf, visibleUntil: asOf, eventAfter };
    const history = await readKeyHistory(this.duckdb, plan, { view, source }, values, reach);
    this.#last = { name, history };
    return history;
  }
}

async function explainFeature(
  reader: FeatureEvents,
  feature: FeatureSpec,
  row: Row,
  atMost: number,
): Promise<FeatureExplanation> {
  const value = row[feature.name] as number | null;
  if (feature.kind === 'derived') {
    const reads = [...columnsOf(feature.expression)].map((name) => [name, row[name]!] as const);
    return { kind: 'derived', feature: feature.name, value, reads: Object.fromEntries(reads) };
  }
  const of = reader.viewFeature(feature);
  const history = await reader.history(of, row);
  const asOf = row['as_of'] as number;
  const read = readHistory(of.plan, history, asOf);
  const position = of.plan.outputs.indexOf(of.output);
  const selected: Selected =
    history === null ? { used: [], leftOut: [], window: null } : selectionOf(of.plan, of.output, history, asOf);
  const leftOut = selected.leftOut.slice(0, atMost);
  const used = selected.used.slice(0, atMost);
  const oldest = selected.used.at(-1);
  const events = await readSourceEvents(
    reader.duckdb,
    of.source.name,
    [...used, ...(oldest ? [oldest] : []), ...leftOut.flatMap(({ fact, by }) => (by ? [fact, by] : [fact]))].map(
      ({ seq }) => seq,
    ),
  );
  const eventOf = ({ seq }: Fact): SourceEvent => events.get(seq)!;
  return {
    kind: 'view',
    feature: feature.name,
    value,
    view: of.plan.id,
    status: read.defaulted[position] ? 'defaulted' : read.statuses[position]!,
    window:
      selected.window === null
        ? null
        : {
            start: selected.window.start === null ? null : Number(selected.window.start),
            end: Number(selected.window.end),
          },
    count: selected.used.length,
    events: used.map(eventOf),
    first: oldest ? eventOf(oldest) : null,
    leftOut: leftOut.map(({ fact, because, by }): LeftOutEvent => {
      const cause = by === null ? null : eventOf(by);
      const event = eventOf(fact);
      if (because === 'replaced') return { event, because: 'superseded', by: cause };
      // what is gone from here by an event is elsewhere
      if (because === 'gone') return { event, because: cause?.operation === 'put' ? 'moved' : 'retracted', by: cause };
      return { event, because, by: cause };
    }),
  };
}

/** The newest events that a row's label is made from. */
async function labelEvents(reader: FeatureEvents, row: Row): Promise<SourceEvent[]> {
  const { label, spineSource } = reader.definitions;
  if (label.window === undefined) return ownEvents(reader.duckdb, spineSource, row['row_id'] as number);
  const facts = await labelFacts(reader, row, ['label']);
  const seqs = facts.slice(0, EXPLAINED_EVENTS).map(({ fact }) => fact.seq);
  return [...(await readSourceEvents(reader.duckdb, label.source, seqs)).values()].toSorted((a, b) => b.seq - a.seq);
}

/** All versions of the event that a row is, newest first. */
async function ownEvents(duckdb: DuckDb, source: SourceSpec, rowId: number): Promise<SourceEvent[]> {
  const same = `event_id = (SELECT event_id FROM ${logName(source.name)} WHERE ingest_seq = ${rowId})`;
  const rows = await duckdb.rows(
    `SELECT ingest_seq FROM ${logName(source.name)} WHERE ${hasVersions(source) ? same : `ingest_seq = ${rowId}`} ORDER BY ingest_seq DESC LIMIT ${EXPLAINED_EVENTS}`,
  );
  const events = await readSourceEvents(
    duckdb,
    source.name,
    rows.map((each) => each['ingest_seq'] as number),
  );
  return [...events.values()].toSorted((a, b) => b.seq - a.seq);
}

/** Facts of the row's key in the window of its label (or in the time in which it can be censored), newest first. */
async function labelFacts(
  reader: FeatureEvents,
  row: Row,
  sides: readonly ('label' | 'censor')[],
): Promise<{ readonly source: string; readonly fact: Fact }[]> {
  const { label, plan, source, censorSource } = labelDefinitions(reader.definitions);
  const { window } = label;
  const asOf = row['as_of'] as number;
  const end = asOf + window.gapMicros + window.horizonMicros;
  const found: { source: string; fact: Fact }[] = [];
  for (const side of sides) {
    const [of, on, from] =
      side === 'label' ? [source, window.on, asOf + window.gapMicros] : [censorSource, window.censor?.on ?? [], asOf];
    const sidePlan = side === 'label' ? plan.events : plan.censors;
    if (of === null || sidePlan === null) continue;
    const history = await readKeyHistory(
      reader.duckdb,
      sidePlan,
      { view: { features: [] }, source: of },
      on.map((field) => row[field]!),
      { knownUntil: Number.MAX_SAFE_INTEGER, visibleUntil: null, eventAfter: null },
    );
    const first = window.boundary === 'exclusive' && side === 'label' ? from : from + 1;
    const isIn = ({ eventAt }: Fact): boolean => eventAt >= first && eventAt <= end;
    for (const fact of [...(history?.facts ?? []), ...(history?.tombstones ?? [])])
      if (fact.kind === 'tombstone' || isIn(fact) || isVersionIn(history!, fact, isIn))
        found.push({ source: of.name, fact });
  }
  return found.toSorted((a, b) => b.fact.seq - a.fact.seq);
}

function isVersionIn(history: KeyHistory, { identity }: Fact, isIn: (fact: Fact) => boolean): boolean {
  return identity !== null && history.versionsOf(identity).some((each) => each.kind === 'put' && isIn(each));
}

/** Versions of the event that a row is; none for the rows of a query. */
export async function ownEventsOf(reader: FeatureEvents, row: Row): Promise<SourceEvent[]> {
  const { spine, spineSource } = reader.definitions;
  return spine.sql === undefined ? ownEvents(reader.duckdb, spineSource, row['row_id'] as number) : [];
}

/** Rows that a row's label or its status can differ by; newest first. */
export async function newLabelEvents(
  reader: FeatureEvents,
  row: Row,
  isNew: (event: SourceEvent) => boolean,
): Promise<SourceEvent[]> {
  const { label } = reader.definitions;
  if (label.window === undefined) return (await ownEventsOf(reader, row)).filter(isNew);
  const facts = await labelFacts(reader, row, ['label', 'censor']);
  const events: SourceEvent[] = [];
  for (const source of new Set(facts.map((each) => each.source))) {
    const seqs = facts.filter((each) => each.source === source).map(({ fact }) => fact.seq);
    events.push(...(await readSourceEvents(reader.duckdb, source, seqs)).values());
  }
  return events.filter(isNew).toSorted((a, b) => b.seq - a.seq);
}
