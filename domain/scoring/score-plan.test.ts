import fc from 'fast-check';
import { expect, test } from 'vitest';
import { planScoreParts, SCORE_PARTS_MAX } from './score-plan.ts';

const files = fc.array(fc.record({ rows: fc.nat(500) }), { maxLength: 12 });

test('every row of every file is in one part, in the order of the files', () => {
  fc.assert(
    fc.property(files, fc.integer({ min: 1, max: 200 }), (given, partRows) => {
      const parts = planScoreParts(given, partRows);
      const planned = parts.flatMap(({ slices }) =>
        slices.flatMap(({ file, from, to }) => Array.from({ length: to - from }, (_, i) => `${file}/${from + i}`)),
      );
      expect(planned).toEqual(
        given.flatMap(({ rows }, file) => Array.from({ length: rows }, (_, row) => `${file}/${row}`)),
      );
      let next = 0;
      for (const { firstRow, rows } of parts) {
        expect(firstRow).toBe(next);
        next += rows;
      }
    }),
  );
});

test('parts hold no more rows than asked for, unless there would be too many parts', () => {
  fc.assert(
    fc.property(files, fc.integer({ min: 1, max: 200 }), (given, partRows) => {
      const parts = planScoreParts(given, partRows);
      expect(parts.length).toBeLessThanOrEqual(SCORE_PARTS_MAX);
      if (parts.length < SCORE_PARTS_MAX) for (const { rows } of parts) expect(rows).toBeLessThanOrEqual(partRows);
    }),
  );
});
