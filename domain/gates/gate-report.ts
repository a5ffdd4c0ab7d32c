import type { GateKind, GateSpec } from './gate-spec.ts';

/** `insufficient`: the gate could not be evaluated. It never passes, and is not the model's fault either. */
export type GateVerdict = 'pass' | 'fail' | 'insufficient';

export interface GateResult {
  readonly gate: GateSpec;
  readonly kind: GateKind;
  /** As `gateName` gives it. */
  readonly name: string;
  readonly verdict: GateVerdict;
  readonly observed: number | null;
  readonly limit: number | null;
  readonly sentence: string;
}

/** `fail` when any gate failed, else `insufficient` when any could not be evaluated, else `pass`. Never `pass` without gates. */
export interface GateReport {
  readonly verdict: GateVerdict;
  readonly results: readonly GateResult[];
}
