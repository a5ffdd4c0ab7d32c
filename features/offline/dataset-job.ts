/** What the dataset threads are given and what they hand back; plain values only, since they cross threads. */
import type { ColumnStatistics, DatasetManifest, Split } from '../../domain/features/dataset-manifest.ts';
import type { LeakageFinding } from '../../domain/features/leakage.ts';
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

/** What all tasks of one build share. */
export interface DatasetJob {
  readonly project: ProjectSpec;
  readonly model: string;
  /** `name@version` */
  readonly featureSet: string;
  readonly split: SplitSpec;
  readonly seed: number;
  readonly knowledgeCut: KnowledgeCut;
  readonly logs: Readonly<Record<string, SourceLog>>;
  /** Names the build in its intermediate files, so that no two builds have a file of the same bytes. */
  readonly digest: string;
}

/** Rows that are asked about. */
export interface SpineBounds {
  readonly rows: number;
  readonly firstAsOf: Micros;
  readonly lastAsOf: Micros;
}

/** The rows of a dataset, once they are known. */
export interface SpineSummary extends SpineBounds {
  /** Rows in each split before the samples were drawn. */
  readonly candidates: Readonly<Record<Split, number>>;
}

/** A stretch of the keys, in their order: the `chunk`-th of `chunks` equal ones. */
export interface KeyRange {
  readonly chunk: number;
  readonly chunks: number;
}

/** One piece of work; each writes one Parquet file. */
interface Task {
  readonly outputPath: string;
  readonly duckdb: DuckDbSettings;
}

export interface SpineTask extends Task {
  readonly kind: 'spine';
  /** Folder in which intermediate files may lie. */
  readonly folder: string;
}

interface TaskOnSpine extends Task {
  readonly spine: SpineBounds;
  readonly spinePath: string;
}

export interface ReplayTask extends TaskOnSpine {
  readonly kind: 'replay';
  /** Position in the feature set's views. */
  readonly view: number;
  readonly range: KeyRange;
}

/** Labels over a window, from their own source. */
export interface LabelTask extends TaskOnSpine {
  readonly kind: 'label';
  readonly range: KeyRange;
}

/** What the views answered to the rows of a spine. */
export interface SpineAnswers {
  readonly spinePath: string;
  /** Per view of the feature set the files of its chunks, in their order. */
  readonly answers: readonly (readonly string[])[];
}

export interface AssemblyTask extends TaskOnSpine, SpineAnswers {
  readonly kind: 'assemble';
  readonly spine: SpineSummary;
  /** Empty for a label of the spine's own event. */
  readonly labels: readonly string[];
}

export type DatasetTask = SpineTask | ReplayTask | LabelTask | AssemblyTask;

export interface DatasetResult {
  readonly rows: number;
  readonly splits: DatasetManifest['splits'];
  readonly firstAsOf: Micros;
  readonly lastAsOf: Micros;
  readonly statistics: readonly ColumnStatistics[];
  readonly leakage: readonly LeakageFinding[];
}

export interface TaskResults {
  readonly spine: SpineSummary;
  readonly replay: null;
  readonly label: null;
  readonly assemble: DatasetResult;
}

/** Counts of rows, over all steps; `done` never falls and ends at `total`. */
export type Progress = (done: number, total: number) => void;
