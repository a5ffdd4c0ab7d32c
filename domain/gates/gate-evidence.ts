import type { EvaluationReport } from '../training/evaluation-report.ts';

/** Something a feature knows that could not be known when the prediction is made. */
export interface LeakageFinding {
  readonly feature: string;
  readonly kind: string;
  readonly sentence: string;
  readonly value?: number;
}

/** The parts of an evaluation report that gates read. */
export type QualityEvidence = Pick<EvaluationReport, 'rows' | 'auc' | 'logLoss' | 'brier' | 'slices' | 'comparison'> & {
  readonly calibration: Pick<EvaluationReport['calibration'], 'ece'>;
};

/** What the candidate did when it was loaded and asked through the real serving path. */
export interface ServingEvidence {
  readonly loaded: boolean;
  /** Null when no row was compared. */
  readonly parityMaxAbsDifference: number | null;
  readonly rowsCompared: number;
  readonly latencyMsP50: number | null;
  readonly latencyMsP99: number | null;
  readonly rssMiB: number | null;
}

/** Everything the gates of one run look at. What is absent was not measured, and the gates that need it are insufficient. */
export interface GateEvidence {
  /** One sentence per mismatch between the model file and its feature set; empty when they agree. */
  readonly schema?: readonly string[];
  readonly leakage?: readonly LeakageFinding[];
  readonly evaluation?: QualityEvidence;
  readonly serving?: ServingEvidence;
}
