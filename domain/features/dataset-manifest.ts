import type { BlobRef } from '../blob.ts';
import type { SplitSpec } from '../project/spec.ts';
import type { Micros } from '../time.ts';
import type { LeakageFinding } from './leakage.ts';
import type { LogFile } from './log-file.ts';
import type { SplitPart } from './split.ts';

export const DATASET_FORMAT = 'serin.dataset/1';

/** Rows of the Parquet file, besides the request fields and one DOUBLE per feature (null: missing). */
export const DATASET_COLUMNS = {
  rowId: 'row_id',
  asOf: 'as_of',
  label: 'label',
  labelStatus: 'label_status',
  split: 'split',
} as const;

export type Split = SplitPart;
export const SPLITS: readonly Split[] = ['TRAIN', 'TEST', 'PURGED', 'EMBARGOED', 'GROUP_PURGED'];
/**
 * `NULL`: the label's own expression has no value for the event; `IMMATURE`: not known at the knowledge cut; `CENSORED`: the
 * window of the label was cut short; `POSITIVE` and `NEGATIVE`: of labels that ask for any event. Only `VALUE`, `POSITIVE`
 * and `NEGATIVE` have a label.
 */
export type LabelStatus = 'VALUE' | 'NULL' | 'IMMATURE' | 'CENSORED' | 'POSITIVE' | 'NEGATIVE';

export interface SplitCounts {
  /** Rows in the range, before the sample. */
  readonly candidates: number;
  /** Rows in the file. */
  readonly rows: number;
  /** Of the rows in the file, by label status. */
  readonly labelled: number;
  readonly immature: number;
  readonly positives: number;
  /** Absent: none. */
  readonly censored?: number;
}

/** One feature over the training rows: the frozen baseline of drift monitors. */
export interface ColumnStatistics {
  readonly feature: string;
  readonly rows: number;
  readonly nulls: number;
  readonly nullRate: number;
  /** Of the values that are not null; null when there are none. */
  readonly mean: number | null;
  /** Sample standard deviation (n − 1); null below two values. */
  readonly standardDeviation: number | null;
  readonly min: number | null;
  readonly max: number | null;
  /** Distinct type-7 deciles of the values, ascending, at most 9. Bin i holds values with i edges at or below them. */
  readonly edges: readonly number[];
  /** Values per bin, `edges.length + 1` of them; nulls are apart. */
  readonly counts: readonly number[];
}

/** Everything a dataset was made from and what it holds. Its canonical JSON's digest is the dataset's name. */
export interface DatasetManifest {
  readonly format: typeof DATASET_FORMAT;
  readonly project: string;
  readonly projectDigest: string;
  readonly model: string;
  readonly spine: string;
  readonly label: string;
  /** `name@version` */
  readonly featureSet: string;
  readonly requestFields: readonly string[];
  /** The order of the model's input. */
  readonly features: readonly string[];
  readonly split: SplitSpec;
  readonly seed: number;
  /** What was known: nothing available after `at`, and per source nothing numbered after its `seq`. */
  readonly knowledgeCut: { readonly at: Micros; readonly seq: Readonly<Record<string, number>> };
  /** The log files that were read, in order of their sequence. */
  readonly inputs: Readonly<Record<string, readonly LogFile[]>>;
  /** Parquet, ordered by (as_of, row_id). */
  readonly file: BlobRef;
  readonly rows: number;
  /** The last two are there when the split asks for them. */
  readonly splits: Readonly<
    Record<'TRAIN' | 'TEST' | 'PURGED', SplitCounts> & Partial<Record<'EMBARGOED' | 'GROUP_PURGED', SplitCounts>>
  >;
  readonly firstAsOf: Micros;
  readonly lastAsOf: Micros;
  readonly statistics: readonly ColumnStatistics[];
  readonly leakage: readonly LeakageFinding[];
}
