/** Comparisons of a current window with a baseline, column by column. Which of them a monitor uses is its policy. */
export { binCounts, psiCounts, psiNumeric, referenceEdges } from './psi.ts';
