/** Comparisons of a current window with a baseline, column by column. Which of them a monitor uses is its policy. */
export { chi2Contingency, chi2Gof } from './chi-square.ts';
export { meanShiftZ, nullRateTest } from './column-shift.ts';
export { divergences, wasserstein1 } from './divergences.ts';
export { ks2samp } from './ks.ts';
export { binCounts, psiCounts, psiNumeric, referenceEdges } from './psi.ts';
