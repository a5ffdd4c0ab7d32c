/** Random worlds are judged more strictly than cases: sums, means and rates have one right double, deviations are within 1e-12. */
import type { Answer, AnswerValue, Expected, PitCase } from './case-types.ts';
import { verdict } from './judge.ts';
import { outputColumns } from './output-columns.ts';

/** The answer as a case states what is right. */
export function expectedOf(given: PitCase, answer: Answer): Expected {
  if ('error' in answer) return answer;
  return { columns: outputColumns(given).map(({ name, type }) => ({ name, type })), ...answer };
}

/** Null: the same. */
export function strictVerdict(given: PitCase, answer: Answer, right: Answer): string | null {
  const wrong = verdict({ ...given, expected: expectedOf(given, right) }, answer);
  if (wrong !== null || 'error' in answer || 'error' in right) return wrong;
  const columns = outputColumns(given);
  for (const [r, row] of answer.rows.entries()) {
    for (const [c, value] of row.entries()) {
      if (isClose(value, right.rows[r]![c]!, columns[c]!.deviates ? 1e-12 : 0)) continue;
      return `row ${r} ${columns[c]!.name}: ${JSON.stringify(value)} / ${JSON.stringify(right.rows[r]![c])}, to the last digit`;
    }
  }
  return null;
}

function isClose(a: AnswerValue, b: AnswerValue, tolerance: number): boolean {
  if (Array.isArray(a) && Array.isArray(b)) return a.every((item, i) => isClose(item, b[i]!, tolerance));
  if (typeof a === 'number' && typeof b === 'number') return Math.abs(a - b) <= tolerance * Math.abs(b) || a === b;
  return a === b;
}
