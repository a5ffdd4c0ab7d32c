/**
 * Statistics that may be looked at as often as one likes: the error bound holds at every look together, not at each alone.
 *
 * Each method comes twice: as a pure step on a small JSON state, which a rollout folds over the counts of each second, and as
 * a batch over rows, which is the form of the golden cases. The batch form calls the step.
 */
export {
  type BernoulliEProcessState,
  type EventBlock,
  type EventCounts,
  bernoulliEProcess,
  eProcessThreshold,
  bernoulliEProcessBlocks,
} from './e-process.ts';
export {
  type Moments,
  type SequenceInterval,
  type SequenceOptions,
  type ValueSums,
  NO_MOMENTS,
  mergeMoments,
  momentsOf,
  asymptoticInterval,
  asymptoticLowerBound,
  asymptoticUpperBound,
  asymptoticCs,
} from './confidence-sequence.ts';
export {
  type AteBlock,
  type AteState,
  ateInitial,
  ateStep,
  ateInterval,
  ateLowerBound,
  ateUpperBound,
  asymptoticCsAte,
} from './treatment-effect.ts';
export { type SrmResult, SRM_ALARM, srm, srmLogBayesFactor, srmSequential } from './sample-ratio.ts';
