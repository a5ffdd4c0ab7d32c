export interface Holdout {
  /** Row indexes the model is fitted to, ascending. */
  readonly fit: Uint32Array;
  /** Row indexes held out, ascending: all at or after the latest instant of the fit. */
  readonly validation: Uint32Array;
}

/**
 * Holds out the latest rows. Rows of one instant stay on one side, so the share is at most the fraction asked for, or
 * everything is fitted when all rows share an instant.
 */
export function holdOutLatest(asOf: Float64Array, fraction: number): Holdout {
  const rows = asOf.length;
  const wanted = Math.floor(rows * fraction);
  const sorted = asOf.toSorted();
  // The last instant that must be fitted: what comes strictly after it is held out.
  const lastFitted = wanted === 0 ? Number.POSITIVE_INFINITY : sorted[rows - wanted - 1]!;
  const fit = new Uint32Array(rows);
  const validation = new Uint32Array(rows);
  let fitted = 0;
  let heldOut = 0;
  for (let row = 0; row < rows; row++)
    if (asOf[row]! <= lastFitted) fit[fitted++] = row;
    else validation[heldOut++] = row;
  return { fit: fit.slice(0, fitted), validation: validation.slice(0, heldOut) };
}
