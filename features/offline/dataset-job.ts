/** What the dataset thread is given and what it hands back; plain values only, since they cross threads. */
import type { ColumnStatistics, Split, SplitCounts } from '../../domain/features/dataset-manifest.ts';
import type { LeakageFinding } from '../../domain/features/leakage.ts';
import type { ErrorCode } from '../../domain/errors.ts';
import type { ProjectSpec, SplitSpec } from '../../domain/project/spec.ts';
import type { Micros } from '../../domain/time.ts';
import type { DuckDbSettings } from './duckdb.ts';

/** What was known when the dataset was built. */
export interface KnowledgeCut {
  readonly at: Micros;
  /** Per source the highest sequence number that counts. */
  readonly seq: Readonly<Record<string, number>>;
}

export interface SourceLog {
  readonly paths: readonly string[];
  readonly rows: number;
}

export interface DatasetJob {
  readonly project: ProjectSpec;
  readonly model: string;
  /** `name@version` */
  readonly featureSet: string;
  readonly split: SplitSpec;
  readonly seed: number;
  readonly knowledgeCut: KnowledgeCut;
  readonly logs: Readonly<Record<string, SourceLog>>;
  /** Where the Parquet file goes. */
  readonly outputPath: string;
  readonly duckdb: DuckDbSettings;
}

export interface DatasetResult {
  readonly rows: number;
  readonly splits: Readonly<Record<Split, SplitCounts>>;
  readonly firstAsOf: Micros;
  readonly lastAsOf: Micros;
  readonly statistics: readonly ColumnStatistics[];
  readonly leakage: readonly LeakageFinding[];
}

/** Counts of rows, over all steps; `done` never falls and ends at `total`. */
export type Progress = (done: number, total: number) => void;

export type ThreadMessage =
  | { readonly type: 'progress'; readonly done: number; readonly total: number }
  | { readonly type: 'done'; readonly result: DatasetResult }
  | {
      readonly type: 'refused';
      readonly code: ErrorCode;
      readonly detail: string;
      readonly fields: Readonly<Record<string, unknown>>;
    }
  | { readonly type: 'crashed'; readonly message: string };
