import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  type AteBlock,
  type BernoulliEProcessState,
  type EventBlock,
  type ValueSums,
  NO_MOMENTS,
  SRM_ALARM,
  asymptoticInterval,
  ateInitial,
  ateInterval,
  ateLowerBound,
  ateStep,
  ateUpperBound,
  bernoulliEProcess,
  eProcessThreshold,
  mergeMoments,
  momentsOf,
  srm,
  srmLogBayesFactor,
  srmSequential,
} from './sequential.ts';
import { binomialMass } from './special-functions.ts';

const OPTIONS = { alpha: 0.05, tStar: 1000 };

function sumsOf(values: readonly number[]): ValueSums {
  return {
    n: values.length,
    sum: values.reduce((t, v) => t + v, 0),
    sumSq: values.reduce((t, v) => t + v * v, 0),
  };
}

const events = fc
  .integer({ min: 0, max: 6 })
  .chain((n) => fc.integer({ min: 0, max: n }).map((successes) => ({ n, successes })));
const eventBlock: fc.Arbitrary<EventBlock> = fc.record({ champion: events, canary: events });

test('under equal rates a step of the e-process is worth at most 1 on average, whatever came before', () => {
  const size = fc.integer({ min: 0, max: 6 });
  const rate = fc.double({ min: 0, max: 1, noNaN: true });
  fc.assert(
    fc.property(fc.array(eventBlock, { maxLength: 5 }), size, size, rate, (past, n, m, theta) => {
      const before = past.reduce(bernoulliEProcess.step, bernoulliEProcess.initial());
      let mean = 0;
      for (let i = 0; i <= n; i++) {
        for (let j = 0; j <= m; j++) {
          const block = { champion: { n, successes: i }, canary: { n: m, successes: j } };
          const gain = bernoulliEProcess.step(before, block).log_e - before.log_e;
          mean += binomialMass(i, n, theta) * binomialMass(j, m, theta) * Math.exp(gain);
        }
      }
      expect(mean).toBeLessThanOrEqual(1 + 1e-9);
    }),
  );
});

test('an e-process state survives JSON, and a block without trials changes nothing', () => {
  fc.assert(
    fc.property(fc.array(eventBlock, { maxLength: 8 }), (blocks) => {
      const straight = blocks.reduce(bernoulliEProcess.step, bernoulliEProcess.initial());
      const stored = blocks.reduce<BernoulliEProcessState>(
        (state, block) => JSON.parse(JSON.stringify(bernoulliEProcess.step(state, block))) as BernoulliEProcessState,
        bernoulliEProcess.initial(),
      );
      expect(stored).toEqual(straight);
      const nothing = { champion: { n: 0, successes: 0 }, canary: { n: 0, successes: 0 } };
      expect(bernoulliEProcess.step(straight, nothing)).toBe(straight);
    }),
  );
});

test('a canary that fails five times as often crosses the rejection level', () => {
  let state = bernoulliEProcess.initial();
  for (let second = 0; second < 60; second++) {
    state = bernoulliEProcess.step(state, { champion: { n: 95, successes: 1 }, canary: { n: 20, successes: 2 } });
  }
  expect(state.log_e).toBeGreaterThan(eProcessThreshold(0.001));
});

test('moments of parts merge to the moments of the whole', () => {
  const values = fc.array(fc.double({ min: -100, max: 100, noNaN: true }), { maxLength: 30 });
  fc.assert(
    fc.property(values, values, (a, b) => {
      const merged = mergeMoments(momentsOf(sumsOf(a)), momentsOf(sumsOf(b)));
      const whole = momentsOf(sumsOf([...a, ...b]));
      expect(merged.n).toBe(whole.n);
      expect(merged.mean).toBeCloseTo(whole.mean, 9);
      expect(merged.m2).toBeCloseTo(whole.m2, 5); // Σx² of values up to 100 keeps about 10 digits of the difference
    }),
  );
});

test('an effect folded over blocks equals the same contrasts row by row', () => {
  const values = fc.array(fc.double({ min: -3, max: 3, noNaN: true }), { maxLength: 8 });
  const block = fc.record({ weight: fc.constantFrom(0.05, 0.2, 0.5), champion: values, canary: values });
  fc.assert(
    fc.property(fc.array(block, { minLength: 1, maxLength: 8 }), (blocks) => {
      let state = ateInitial();
      const phi: number[] = [];
      const seen: number[] = [];
      for (const { weight, champion, canary } of blocks) {
        const centre = seen.length === 0 ? 0 : seen.reduce((t, v) => t + v, 0) / seen.length;
        for (const y of champion) phi.push(-(y - centre) / (1 - weight));
        for (const y of canary) phi.push((y - centre) / weight);
        seen.push(...champion, ...canary);
        state = ateStep(state, { weight, champion: sumsOf(champion), canary: sumsOf(canary) });
      }
      const naive = phi.reduce((moments, value) => mergeMoments(moments, { n: 1, mean: value, m2: 0 }), NO_MOMENTS);
      expect(state.phi.n).toBe(naive.n);
      expect(state.phi.mean).toBeCloseTo(naive.mean, 8);
      expect(state.phi.m2).toBeCloseTo(naive.m2, 5);
    }),
  );
});

/** One second of traffic at a canary weight, with deterministic rates in both arms. */
function second(weight: number, championRate: number, canaryRate: number): AteBlock {
  const canaryRows = Math.round(200 * weight);
  const arm = (n: number, rate: number): ValueSums => ({ n, sum: n * rate, sumSq: n * rate });
  return { weight, champion: arm(200 - canaryRows, championRate), canary: arm(canaryRows, canaryRate) };
}

test('the effect stays in its interval while the weight ramps, and the interval leaves 0 when the canary harms', () => {
  const weights = [0.05, 0.2, 0.5].flatMap((weight) => new Array<number>(100).fill(weight));
  const harmed = weights.reduce((state, weight) => ateStep(state, second(weight, 0.1, 0.2)), ateInitial());
  const { estimate, lower, upper, n } = ateInterval(harmed, OPTIONS);
  expect(n).toBe(60_000);
  expect(estimate).toBeCloseTo(0.1, 2);
  expect(lower).toBeGreaterThan(0);
  expect(upper).toBeGreaterThan(0.1);
  expect(ateLowerBound(harmed, OPTIONS)).toBeGreaterThan(lower);
  expect(ateUpperBound(harmed, OPTIONS)).toBeLessThan(upper);

  const same = weights.reduce((state, weight) => ateStep(state, second(weight, 0.1, 0.1)), ateInitial());
  const interval = ateInterval(same, OPTIONS);
  expect(interval.lower).toBeLessThan(0);
  expect(interval.upper).toBeGreaterThan(0);
});

test('a weight that leaves an arm without traffic has no effect to estimate', () => {
  expect(() => ateStep(ateInitial(), second(0, 0.1, 0.1))).toThrowError(/strictly between 0 and 1/);
  expect(() => asymptoticInterval(NO_MOMENTS, OPTIONS)).toThrowError(/at least one value/);
});

test('under the configured split the Bayes factor is worth exactly 1 on average', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 60 }), fc.double({ min: 0.01, max: 0.99, noNaN: true }), (n, weight) => {
      let mean = 0;
      for (let k = 0; k <= n; k++)
        mean += binomialMass(k, n, weight) * Math.exp(srmLogBayesFactor([n - k, k], [1 - weight, weight]));
      expect(mean).toBeCloseTo(1, 9);
    }),
  );
});

test('a split is judged by its counts: a sound one never alarms, a broken one does', () => {
  // scipy 1.17 and the closed form
  expect(srm([9400, 600], [0.95, 0.05])).toEqual({
    chi2: expect.closeTo(21.05263157894737, 9),
    p: expect.closeTo(4.468387345230037e-6, 12),
    log_bayes_factor: expect.closeTo(7.419084802789257, 9),
  });
  expect(srm([9400, 600], [0.95, 0.05]).log_bayes_factor).toBeGreaterThan(SRM_ALARM);
  expect(srm([9500, 500], [0.95, 0.05]).log_bayes_factor).toBeLessThan(0);
  expect(srm([5, 1], [1, 0])).toEqual({ chi2: Infinity, p: 0, log_bayes_factor: Infinity });
});

test('an arm that takes no traffic and gets none changes nothing', () => {
  expect(srm([95, 5, 0], [0.95, 0.05, 0])).toEqual(srm([95, 5], [0.95, 0.05]));
});

test('the streamed Bayes factor is that of the counts so far', () => {
  const stream = [0, 1, 0, 0, 1, 1, 1, 0];
  const { log_bayes_factor: got } = srmSequential(stream, { weightOfOne: 0.3, reportAt: [3, 8] });
  expect(got).toEqual([srmLogBayesFactor([2, 1], [0.7, 0.3]), srmLogBayesFactor([4, 4], [0.7, 0.3])]);
});
