import fc from 'fast-check';
import { AggregatorRegistry, Counter, Histogram, Registry } from 'prom-client';
import { expect, test } from 'vitest';
import { CounterFamily, HistogramFamily } from './metric-series.ts';

const BUCKETS = [0.001, 0.01, 0.1, 1];
const named = { name: 'seconds', help: 'How long.' };
const labels = fc.record({ model: fc.constantFrom('a', 'b'), arm: fc.constantFrom('champion', 'canary') });
const value = fc.oneof(fc.constantFrom(...BUCKETS), fc.double({ min: 0, max: 3, noNaN: true }));

test('a page of them is what prom-client writes for the same observations', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(labels, value), { minLength: 1 }), async (observed) => {
      const [ours, theirs] = [new Registry(), new Registry()];
      for (const registry of [ours, theirs]) registry.setDefaultLabels({ node: 'n' });
      const family = new HistogramFamily({ ...named, buckets: BUCKETS, registry: ours });
      const histogram = new Histogram({
        ...named,
        labelNames: ['model', 'arm'],
        buckets: BUCKETS,
        registers: [theirs],
      });
      const counters = new CounterFamily({ name: 'asked', help: 'How often.', registry: ours });
      const counter = new Counter({
        name: 'asked',
        help: 'How often.',
        labelNames: ['model', 'arm'],
        registers: [theirs],
      });
      for (const [own, seconds] of observed) {
        family.of(own).observe(seconds);
        histogram.observe(own, seconds);
        counters.of(own).add();
        counter.inc(own);
      }
      expect(linesOf(await ours.metrics())).toEqual(linesOf(await theirs.metrics()));
    }),
  );
});

/** Labels in any order. */
function linesOf(page: string): string[] {
  return page
    .split('\n')
    .map((line) => line.replace(/\{(.*)\}/, (_, inner: string) => `{${inner.split(',').toSorted().join(',')}}`))
    .toSorted();
}

test('processes of a cluster add up', async () => {
  const pages = [1, 2].map((seconds) => {
    const registry = new Registry();
    new HistogramFamily({ ...named, buckets: BUCKETS, registry }).of({ model: 'a' }).observe(seconds);
    return registry.getMetricsAsJSON();
  });
  const all = AggregatorRegistry.aggregate(await Promise.all(pages));
  expect(await all.metrics()).toContain('seconds_sum{model="a"} 3');
  expect(await all.metrics()).toContain('seconds_bucket{le="1",model="a"} 1');
});

test('series are forgotten, also right before a scrape', async () => {
  const registry = new Registry();
  const family = new CounterFamily({
    ...named,
    registry,
    collect: () => family.forget(({ version }) => version === '1'),
  });
  family.of({ version: '1' }).add();
  family.of({ version: '2' }).add();
  const page = await registry.metrics();
  expect(page).not.toContain('version="1"');
  expect(page).toContain('seconds{version="2"} 1');
});
