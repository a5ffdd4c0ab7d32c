/** What the thread that scores a part is given and what it hands back; plain values only, since they cross threads. */
import type { ProjectSpec } from '../project/spec.ts';
import type { ModelVersionManifest } from '../registry/manifest.ts';
import type { Micros } from '../time.ts';
import type { ScoredPart, ScoreInstants } from './score-plan.ts';

export interface ScoreJob {
  /** As it was when the version was made. */
  readonly project: ProjectSpec;
  readonly manifest: ModelVersionManifest;
  /** null for a rule. */
  readonly modelPath: string | null;
  readonly asOf: ScoreInstants | null;
  readonly featuresReady: boolean;
  /** What was known; null where the features came with the input. */
  readonly knowledge: {
    readonly logs: Readonly<Record<string, { readonly paths: readonly string[]; readonly rows: number }>>;
    readonly cut: { readonly at: Micros; readonly seq: Readonly<Record<string, number>> };
  } | null;
  /** Names the batch in the ids of its predictions. */
  readonly batch: string;
  /** Rows of files that are scored, in this order. */
  readonly slices: readonly { readonly path: string; readonly from: number; readonly to: number }[];
  /** Number of the first of them in the batch. */
  readonly firstRow: number;
  readonly outputPath: string;
  /** For intermediate files; the caller removes it. */
  readonly folder: string;
  readonly duckdb: { readonly memory: string; readonly threads: number; readonly tempDir: string };
}

/** What is said of a part besides its bytes. */
export type ScoredRows = Pick<ScoredPart, 'rows' | 'unscored' | 'positives'>;
