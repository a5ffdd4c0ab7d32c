/** Batch scoring, as data: what is asked for, how it is cut into parts, and what is left behind. */
import type { LogFile } from '../features/log-file.ts';
import type { Micros } from '../time.ts';

/** The instant that a row's features are as of: of its own, in a column of the input, or one for all rows. */
export type ScoreInstants =
  | { readonly kind: 'column'; readonly column: string }
  | { readonly kind: 'fixed'; readonly at: Micros };

export interface ScoreRequest {
  readonly model: string;
  /** Absent: the champion when the batch is planned. */
  readonly version?: number;
  /** A Parquet file, or a pattern of several, as the workers see it. */
  readonly input: string;
  /** A folder that is made for the result. */
  readonly output: string;
  /** Absent only where the features are ready. */
  readonly asOf?: ScoreInstants;
  /** The input has the version's features by their names, and they are taken as they are; otherwise it has request fields. */
  readonly featuresReady: boolean;
}

export interface ScoreFile {
  readonly path: string;
  readonly bytes: number;
  readonly modifiedMs: number;
  readonly rows: number;
}

/** Rows `from … to − 1` of a file. */
export interface ScoreSlice {
  /** Position in the plan's files. */
  readonly file: number;
  readonly from: number;
  readonly to: number;
}

/** What one worker scores at once, and one file of the output. */
export interface ScorePart {
  readonly slices: readonly ScoreSlice[];
  /** Number of its first row, over all files. */
  readonly firstRow: number;
  readonly rows: number;
}

/** What was known when a batch was planned. */
export interface ScoreKnowledge {
  readonly logFiles: Readonly<Record<string, readonly LogFile[]>>;
  readonly at: Micros;
  /** Per source the highest sequence number that counts. */
  readonly seq: Readonly<Record<string, number>>;
}

/** A batch as it was planned once, whatever becomes of champion, log and input meanwhile; a blob. */
export interface ScorePlan {
  readonly format: 1;
  readonly request: ScoreRequest;
  readonly requestDigest: string;
  /** The beginning of the digest of version, input and knowledge: names the batch in the ids of its predictions. */
  readonly batch: string;
  readonly version: number;
  readonly versionSha256: string;
  /** null where the features came with the input. */
  readonly knowledge: ScoreKnowledge | null;
  readonly files: readonly ScoreFile[];
  readonly parts: readonly ScorePart[];
}

/** What a part has become: a file beside the output until all parts are there. */
export interface ScoredPart {
  readonly sha256: string;
  readonly bytes: number;
  readonly rows: number;
  /** Rows for which the version gave no number; their score is null. */
  readonly unscored: number;
  readonly positives: number;
}

/** `_manifest.json` of an output folder, written last: a folder that has one is complete. */
export interface ScoreManifest {
  readonly format: 1;
  /** Digest of what was asked for. */
  readonly request: string;
  /** The blob of the plan: all that the scores were made from. */
  readonly plan: string;
  readonly batch: string;
  readonly model: string;
  readonly version: number;
  readonly versionSha256: string;
  readonly featureSet: string;
  readonly asOf: ScoreInstants | null;
  /** Per source, the last event that the features could know; null where they came with the input. */
  readonly knownSeq: Readonly<Record<string, number>> | null;
  readonly inputs: readonly ScoreFile[];
  readonly files: readonly {
    readonly name: string;
    readonly sha256: string;
    readonly bytes: number;
    readonly rows: number;
  }[];
  readonly rows: number;
  readonly unscored: number;
  readonly positives: number;
}

/** Parts of a batch at most: more rows make larger parts. */
export const SCORE_PARTS_MAX = 256;
/** Rows of a part: its features and scores are in memory together. */
export const SCORE_PART_ROWS = 1_000_000;

/** Cuts the files into parts of equal size, in order; every row is in one part. */
export function planScoreParts(files: readonly Pick<ScoreFile, 'rows'>[], partRows = SCORE_PART_ROWS): ScorePart[] {
  const total = files.reduce((sum, { rows }) => sum + rows, 0);
  const count = Math.min(SCORE_PARTS_MAX, Math.ceil(total / partRows));
  const parts: ScorePart[] = [];
  let file = 0;
  let from = 0;
  for (let part = 0; part < count; part++) {
    const firstRow = Math.floor((total * part) / count);
    const rows = Math.floor((total * (part + 1)) / count) - firstRow;
    const slices: ScoreSlice[] = [];
    for (let left = rows; left > 0;) {
      const to = Math.min(files[file]!.rows, from + left);
      if (to > from) slices.push({ file, from, to });
      left -= to - from;
      from = to;
      if (from === files[file]!.rows) {
        file++;
        from = 0;
      }
    }
    parts.push({ slices, firstRow, rows });
  }
  return parts;
}

export function scorePartName(part: number): string {
  return `part-${String(part).padStart(5, '0')}.parquet`;
}

export const SCORE_MANIFEST = '_manifest.json';
