/**
 * Holds feature vectors that were served against the log: each is computed again by DuckDB alone, with what its read knew
 * (`features/offline/sql`, a second reading of the selection rule that shares nothing with the kernels online). They are
 * equal bit for bit, or something is wrong.
 */
import type { BlobStore } from '../../domain/blob.ts';
import type { LogFile } from '../../domain/features/log-file.ts';
import { type ColumnType, quoteIdentifier as quote, type Row, type Value } from '../../domain/project/expression.ts';
import { type ProjectSpec, versioned } from '../../domain/project/spec.ts';
import type { Micros } from '../../domain/time.ts';
import { compileHistoryView } from '../history/compile.ts';
import { vectorNumber } from '../history/vector-number.ts';
import { compileFeatureSet } from '../kernel/feature-set-plan.ts';
import type { DuckDb } from './duckdb.ts';
import { logRelationSql } from './log-relation.ts';
import { answerSpine } from './sql/answer-spine.ts';
import { logRelation } from './sql/fact-table.ts';
import { createTypedTable } from './sql/typed-table.ts';

/** One read as it was logged. */
export interface ServedVector {
  readonly id: string;
  /** The request fields. */
  readonly request: Row;
  readonly asOf: Micros;
  /** When the values hold. */
  readonly readAt: Micros;
  /** Per view (`name@version`), the last ingest sequence in the snapshot; absent: the view was never fed. */
  readonly knownSeq: Readonly<Record<string, number>>;
  /** In the order of the feature set; null: missing. */
  readonly values: readonly (number | null)[];
}

/** What an online view is made of, besides pushes: the log up to `builtSeq`. */
export interface ViewLog {
  readonly files: readonly LogFile[];
  /** Sequences of rows that the view never saw, first and last: files that came in after it was built. */
  readonly unseen: readonly (readonly [first: number, last: number])[];
}

export interface ConsistencyRequest {
  readonly spec: ProjectSpec;
  /** `name@version` */
  readonly featureSet: string;
  readonly served: readonly ServedVector[];
  /** Of each view of the set, by id. */
  readonly logs: ReadonlyMap<string, ViewLog>;
  readonly blobs: BlobStore;
  /** Used by nobody else meanwhile. */
  readonly duckdb: DuckDb;
}

export interface SkewedValue {
  readonly id: string;
  readonly feature: string;
  readonly served: number | null;
  readonly recomputed: number | null;
  readonly readAt: Micros;
}

const SPINE = 'serin_served';

/** @returns every value that differs, in the order of `served` */
export async function findSkew(request: ConsistencyRequest): Promise<SkewedValue[]> {
  const { spec, featureSet, served } = request;
  if (served.length === 0) return [];
  const plan = compileFeatureSet(spec, featureSet);
  const width = plan.featureNames.length;
  const vectors = new Float64Array(served.length * width).fill(NaN);
  await recomputeViews(request, plan, vectors);
  const skewed: SkewedValue[] = [];
  served.forEach(({ id, request: fields, asOf, readAt, values }, row) => {
    plan.derive(fields, asOf, vectors, row * width);
    plan.featureNames.forEach((feature, column) => {
      const recomputed = missingToNull(vectors[row * width + column]!);
      const online = values[column] ?? null;
      if (!Object.is(recomputed, online)) skewed.push({ id, feature, served: online, recomputed, readAt });
    });
  });
  return skewed;
}

async function recomputeViews(
  { spec, served, logs, blobs, duckdb }: ConsistencyRequest,
  plan: ReturnType<typeof compileFeatureSet>,
  vectors: Float64Array,
): Promise<void> {
  const width = plan.featureNames.length;
  const known = plan.views.map((_, view) => `known${view}`);
  const fields = plan.request.map(({ name, type }, i) => ({ field: name, name: `field${i}`, type }));
  const columns: { readonly name: string; readonly type: ColumnType }[] = [
    { name: 'place', type: 'i64' },
    { name: 'read_at', type: 'ts' },
    ...fields,
    ...known.map((name) => ({ name, type: 'i64' as const })),
  ];
  try {
    await createTypedTable(
      duckdb,
      SPINE,
      columns,
      served.map(({ request, readAt, knownSeq }, place) => [
        place,
        readAt,
        ...fields.map(({ field }): Value => request[field] ?? null),
        // a view that was never fed knew nothing
        ...plan.views.map((view) => knownSeq[view.plan.id] ?? 0),
      ]),
    );
    for (const use of plan.uses) {
      const { id } = plan.views[use.view]!.plan;
      // the set compiled, so they are there
      const view = spec.views.find((each) => versioned(each) === id)!;
      const source = spec.sources.find(({ name }) => name === view.source)!;
      const entity = spec.entities.find(({ name }) => name === view.entity)!;
      const key = use.key.map((field) => fields.find((each) => each.field === field)!.name);
      const history = compileHistoryView(view, source, entity);
      const { files, unseen } = logs.get(id)!;
      const paths = await Promise.all(files.map(({ blob }) => blobs.localPath(blob)));
      const relation = rowsOfKeys(logRelationSql(paths, source), view.key, key, unseen);
      const spine = { sql: SPINE, rows: served.length, row: 'place', asOf: 'read_at', knownSeq: known[use.view]! };
      const [answer] = await answerSpine(duckdb, spine, [{ plan: history, log: logRelation(source, relation), key }]);
      for (let i = 0; i < use.outputs.length; i++) {
        const values = answer!.values[use.outputs[i]!]!;
        for (let row = 0; row < served.length; row++) {
          vectors[row * width + use.features[i]!] = vectorNumber(values[row]!);
        }
      }
    }
  } finally {
    await duckdb.run(`DROP TABLE IF EXISTS ${SPINE}`);
  }
}

/** Of the log what concerns the keys that are asked about: every version of each event that some version of names one of them. */
function rowsOfKeys(
  relation: string,
  keyColumns: readonly string[],
  key: readonly string[],
  unseen: ViewLog['unseen'],
): string {
  const seen = unseen.map(([first, last]) => `NOT (ingest_seq BETWEEN ${first} AND ${last})`);
  const asked =
    key.length === 0 ? 'TRUE' : `(${keyColumns.map(quote).join(', ')}) IN (SELECT (${key.join(', ')}) FROM ${SPINE})`;
  const concerned = `event_id IN (SELECT event_id FROM ${relation} WHERE ${asked})`;
  return `(SELECT * FROM ${relation} WHERE ${[concerned, ...seen].join(' AND ')})`;
}

/** As the prediction log has it: what is not finite is missing. */
function missingToNull(value: number): number | null {
  return Number.isFinite(value) ? value + 0 : null;
}
