import fc from 'fast-check';
import { expect, test } from 'vitest';
import { PieceQueue } from './piece-queue.ts';

interface Piece {
  readonly rows: number;
  readonly id: number;
}

test('it is a list from which the first is taken and the last taken back, with the sums of what is in it', () => {
  const steps = fc.array(fc.constantFrom('push', 'push', 'shift', 'pop'), { maxLength: 5_000 });
  fc.assert(
    fc.property(steps, (taken) => {
      const queue = new PieceQueue<Piece>();
      const list: Piece[] = [];
      taken.forEach((step, id) => {
        if (step === 'push') {
          const piece = { id, rows: 1 + (id % 5) };
          list.push(piece);
          queue.push(piece, id, piece.rows / 2);
        } else if (list.length > 0 && step === 'shift') {
          list.shift();
          queue.shift();
        } else if (list.length > 0) {
          expect(queue.pop()).toBe(list.pop());
        }
        expect(queue.first).toBe(list[0]);
        expect(queue.firstSubmittedMs).toBe(list[0]?.id ?? Infinity);
        expect(queue.lastSubmittedMs).toBe(list.at(-1)?.id ?? -Infinity);
      });
      const rows = list.reduce((sum, piece) => sum + piece.rows, 0);
      expect([queue.rows, queue.costMs]).toEqual([rows, rows / 2]);
    }),
    { numRuns: 20 },
  );
});

test('what is taken in front is given back while the queue never empties', () => {
  const queue = new PieceQueue<Piece>();
  queue.push({ id: 0, rows: 1 }, 0, 0);
  for (let id = 1; id < 10_000; id++) {
    queue.push({ id, rows: 1 }, id, 0);
    queue.shift();
    expect(queue.first!.id).toBe(id);
  }
  expect(queue.rows).toBe(1);
});
