/**
 * Property tests draw the same cases in every run, so that a commit passes or fails by what it changes. `SERIN_TEST_SEED=random`
 * draws new ones, and a number those of that run; a failure prints its seed. See docs/decisions/0022-seeds-of-property-tests.md.
 */
import fc from 'fast-check';

const wanted = process.env.SERIN_TEST_SEED ?? '20261122';
const seed = Number(wanted);

if (wanted !== 'random') {
  if (!Number.isInteger(seed)) {
    throw new RangeError(`SERIN_TEST_SEED is "${wanted}", but has to be a whole number or "random"`);
  }
  fc.configureGlobal({ seed });
}
