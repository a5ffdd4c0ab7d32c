import fc from 'fast-check';
import { expect, test } from 'vitest';
import { leastUsedBeyond } from './memory-budget.ts';

const holding = fc.record({ bytes: fc.nat(100), usedAt: fc.nat(1_000), pinned: fc.boolean() });
const held = fc.array(holding, { maxLength: 12 }).map((all) => all.map((each, i) => ({ ...each, key: String(i) })));
const bytesOf = (all: readonly { bytes: number }[]): number => all.reduce((sum, { bytes }) => sum + bytes, 0);

test('what goes is the least recently used, never pinned, and no more of it than must', () => {
  fc.assert(
    fc.property(held, fc.nat(400), (all, maxBytes) => {
      const victims = leastUsedBeyond(all, maxBytes);
      const pinned = all.filter((each) => each.pinned);
      if (victims === null) {
        expect(bytesOf(pinned)).toBeGreaterThan(maxBytes);
        return;
      }
      const gone = all.filter(({ key }) => victims.includes(key));
      const stays = all.filter(({ key }) => !victims.includes(key));
      expect(gone.some((each) => each.pinned)).toBe(false);
      expect(bytesOf(stays)).toBeLessThanOrEqual(maxBytes);
      const lastGone = gone.at(-1);
      if (lastGone)
        expect(bytesOf([...stays, all.find(({ key }) => key === victims.at(-1))!])).toBeGreaterThan(maxBytes);
      for (const victim of gone)
        for (const kept of stays) if (!kept.pinned) expect(victim.usedAt).toBeLessThanOrEqual(kept.usedAt);
    }),
  );
});

test('without a budget nothing goes', () => {
  expect(leastUsedBeyond([{ key: 'a', bytes: 1e12, usedAt: 0, pinned: false }], null)).toEqual([]);
});
