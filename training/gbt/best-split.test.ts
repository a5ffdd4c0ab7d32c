import fc from 'fast-check';
import { expect, test } from 'vitest';
import { checkTrainerSpec, type GbtSpec } from '../../domain/training/trainer-spec.ts';
import { type BinnedRows } from './binning.ts';
import { findBestSplit } from './best-split.ts';
import { addRows, clear, emptyHistogram, gradientRounding, subtract } from './histogram.ts';

interface Row {
  readonly bins: readonly number[];
  readonly gradient: number;
  readonly hessian: number;
}

const COLUMNS = 3;
const BIN_COUNTS = [4, 4, 4];

const someRows = fc.array(
  fc.record({
    bins: fc.array(fc.integer({ min: 0, max: 4 }), { minLength: COLUMNS, maxLength: COLUMNS }),
    gradient: fc.double({ min: -1, max: 1, noNaN: true }),
    hessian: fc.double({ min: 0, max: 0.25, noNaN: true }),
  }),
  { minLength: 1, maxLength: 60 },
);

/** What histograms add up: sums of these are exact, so that a leaf is within its limits or not however it was added up. */
function rounded(rows: readonly Row[]): Row[] {
  const rounding = gradientRounding(rows.length);
  return rows.map(({ bins, gradient, hessian }) => ({
    bins,
    gradient: gradient + rounding - rounding,
    hessian: hessian + rounding - rounding,
  }));
}

function histogramOf(rows: readonly Row[], order = Uint32Array.from(rows, (_, row) => row)) {
  const binned: BinnedRows = {
    rows: rows.length,
    wordsPerRow: 4,
    words: Uint32Array.from({ length: rows.length * 4 }, (_, at) =>
      at % 4 === 0 ? rows[at / 4]!.bins.reduce((word, bin, column) => word | (bin << (8 * column)), 0) : 0,
    ),
  };
  const derivatives = Float64Array.from(rounded(rows).flatMap(({ gradient, hessian }) => [gradient, hessian]));
  const histogram = emptyHistogram(COLUMNS);
  addRows(histogram, binned, 1, derivatives, order, 0, order.length);
  return { histogram, binned, derivatives };
}

function spec(overrides: Partial<GbtSpec>): GbtSpec {
  const checked = checkTrainerSpec({ kind: 'gbt', ...overrides }, 'spec');
  if (checked.kind !== 'gbt') throw new Error('not trees');
  return checked;
}

/** Tries every split by looking at every row. */
function naiveBestGain(rows: readonly Row[], { l2, minRowsPerLeaf, minHessianPerLeaf }: GbtSpec): number {
  const total = (chosen: readonly Row[], of: 'gradient' | 'hessian') => chosen.reduce((sum, row) => sum + row[of], 0);
  const score = (chosen: readonly Row[]) => total(chosen, 'gradient') ** 2 / (total(chosen, 'hessian') + l2);
  let best = 0;
  for (let column = 0; column < COLUMNS; column++)
    for (let bin = 1; bin <= 4; bin++)
      for (const missingLeft of [false, true]) {
        const goesLeft = ({ bins }: Row) => (bins[column] === 0 ? missingLeft : bins[column]! <= bin);
        const left = rows.filter(goesLeft);
        const right = rows.filter((row) => !goesLeft(row));
        const allowed = [left, right].every(
          (side) => side.length >= minRowsPerLeaf && total(side, 'hessian') >= minHessianPerLeaf,
        );
        if (allowed) best = Math.max(best, score(left) + score(right) - score(rows));
      }
  return best;
}

test('the best split gains as much as the best of all tried row by row', () => {
  fc.assert(
    fc.property(someRows, fc.integer({ min: 1, max: 8 }), (rows, minRowsPerLeaf) => {
      const limits = spec({ minRowsPerLeaf, minHessianPerLeaf: 0.5 });
      const { histogram, derivatives } = histogramOf(rows);
      let gradient = 0;
      let hessian = 0;
      for (let row = 0; row < rows.length; row++) {
        gradient += derivatives[2 * row]!;
        hessian += derivatives[2 * row + 1]!;
      }
      const split = findBestSplit(histogram, { gradient, hessian, rows: rows.length }, BIN_COUNTS, limits);
      expect(split?.gain ?? 0).toBeCloseTo(naiveBestGain(rounded(rows), limits), 9);
      if (split) {
        const goesLeft = ({ bins }: Row) =>
          bins[split.column] === 0 ? split.missingLeft : bins[split.column]! <= split.bin;
        expect(split.left.rows).toBe(rows.filter(goesLeft).length);
        expect(split.left.rows + split.right.rows).toBe(rows.length);
      }
    }),
  );
});

test('a leaf is held against its limits after rounding: four quarters less a few bits are two halves', () => {
  const rows: Row[] = [1, 1, 2, 2].map((bin) => ({
    bins: [bin, bin, bin],
    gradient: bin === 1 ? -0.5 : 0.5,
    hessian: 0.25 - 2 ** -51,
  }));
  const limits = spec({ minRowsPerLeaf: 1, minHessianPerLeaf: 0.5 });
  const split = findBestSplit(histogramOf(rows).histogram, { gradient: 0, hessian: 1, rows: 4 }, BIN_COUNTS, limits);
  expect(split).toMatchObject({ column: 0, bin: 1, left: { hessian: 0.5 }, right: { hessian: 0.5 } });
});

test('equal gains go to the first column and the lowest bin', () => {
  const rows: Row[] = [1, 2, 3, 4].flatMap((bin) => ({
    bins: [bin, bin, bin],
    gradient: bin <= 2 ? -0.5 : 0.5,
    hessian: 0.25,
  }));
  const limits = spec({ minRowsPerLeaf: 1 });
  const split = findBestSplit(histogramOf(rows).histogram, { gradient: 0, hessian: 1, rows: 4 }, BIN_COUNTS, limits);
  expect(split).toMatchObject({ column: 0, bin: 2 });
});

test('sums are exact: any order of rows and any subtraction give the same bits', () => {
  fc.assert(
    fc.property(someRows, fc.nat(), (rows, cut) => {
      const whole = histogramOf(rows);
      const order = Uint32Array.from(rows, (_, row) => row);
      expect(histogramOf(rows, order.toReversed()).histogram).toEqual(whole.histogram);

      const middle = cut % (rows.length + 1);
      const first = emptyHistogram(COLUMNS);
      addRows(first, whole.binned, 1, whole.derivatives, order, 0, middle);
      const second = emptyHistogram(COLUMNS);
      addRows(second, whole.binned, 1, whole.derivatives, order, middle, rows.length);
      subtract(whole.histogram, first);
      // −0 and 0 are the same sum.
      expect(whole.histogram.gradients.map((value) => value + 0)).toEqual(second.gradients.map((value) => value + 0));
      expect(whole.histogram.counts).toEqual(second.counts);
      clear(first);
      expect(first).toEqual(emptyHistogram(COLUMNS));
    }),
    { numRuns: 25 },
  );
});
