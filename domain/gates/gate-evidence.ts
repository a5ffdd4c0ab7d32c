/** Something a feature knows that could not be known when the prediction is made. */
export interface LeakageFinding {
  readonly feature: string;
  readonly kind: string;
  readonly sentence: string;
  readonly value?: number;
}

/** A number with the interval it lies in. */
export interface Estimate {
  readonly value: number;
  readonly lower: number;
  readonly upper: number;
}

/** Quality of the candidate over the rows of one value of one slice; a metric that those rows do not define is null. */
export interface SliceQuality {
  readonly slice: string;
  readonly value: string;
  readonly rows: number;
  readonly auc: number | null;
  readonly logLoss: number | null;
  readonly brier: number | null;
  readonly ece: number | null;
}

/** Candidate − champion over the same rows. */
export interface PairedComparison {
  /** Of the intervals below, for example 0.95. */
  readonly confidence: number;
  readonly aucDifference: Estimate | null;
  readonly logLossDifference: Estimate | null;
}

export interface QualityEvidence {
  readonly rows: number;
  readonly auc: Estimate | null;
  readonly averagePrecision?: number | null;
  readonly logLoss: number | null;
  readonly brier: number | null;
  readonly ece: number | null;
  readonly comparison: PairedComparison | null;
  readonly slices: readonly SliceQuality[];
}

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
