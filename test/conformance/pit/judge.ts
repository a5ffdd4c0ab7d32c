/** Whether an answer is right: the rules of `shared/conformance/pit/check.py`, for answers of this process. */
import type { Answer, AnswerValue, PitCase } from './case-types.ts';

const ROUNDED: readonly string[] = ['sum', 'mean', 'stddev_pop', 'stddev_samp', 'rate'];

/** Null: it is right; else a sentence on the first difference, got before right. */
export function verdict(given: PitCase, answer: Answer): string | null {
  const { expected } = given;
  if (expected === null) return 'the case does not say what is right';
  if ('error' in expected || 'error' in answer) {
    const [got, right] = [answer, expected].map((side) => ('error' in side ? side.error : 'no error'));
    return got === right ? null : `${got} / ${right}`;
  }
  if (answer.rows.length !== expected.rows.length) return `${answer.rows.length} rows / ${expected.rows.length}`;
  const rounded = roundedColumns(given);
  for (const [r, right] of expected.rows.entries()) {
    const got = answer.rows[r]!;
    if (got.length !== right.length) return `row ${r}: ${got.length} columns / ${right.length}`;
    for (const [c, { name }] of expected.columns.entries()) {
      if (isSame(got[c]!, right[c]!, rounded.has(name))) continue;
      return `row ${r} ${name}: ${JSON.stringify(got[c])} / ${shown(right[c]!)}`;
    }
  }
  return statusVerdict(answer.status, expected.status);
}

function statusVerdict(got: Readonly<Record<string, readonly string[]>>, right: typeof got): string | null {
  for (const name of new Set([...Object.keys(got), ...Object.keys(right)])) {
    const [a, b] = [got[name], right[name]].map((statuses) => statuses?.join(' ') ?? 'none');
    if (a !== b) return `status of ${name}: ${a} / ${b}`;
  }
  return null;
}

/** Results that are real numbers rounded: within 1e-9, or 1e-12 near 0. */
function roundedColumns({ views, labels }: PitCase): Set<string> {
  const features = views.flatMap((view) =>
    view.features
      .filter(({ fn }) => ROUNDED.includes(fn))
      .flatMap((feature) => feature.windows.map((window) => `${view.name}__${feature.name}__${window.name}`)),
  );
  return new Set([...features, ...labels.filter(({ fn }) => ROUNDED.includes(fn)).map(({ name }) => name)]);
}

function isSame(got: AnswerValue, right: AnswerValue, rounded: boolean): boolean {
  if (Array.isArray(right)) {
    return (
      Array.isArray(got) && got.length === right.length && right.every((item, i) => isSame(got[i]!, item, rounded))
    );
  }
  if (typeof right === 'number' || typeof right === 'bigint') {
    const [a, b] = [got, Number(right)];
    return typeof a === 'number' && (a === b || (rounded && Math.abs(a - b) <= 1e-12 + 1e-9 * Math.abs(b)));
  }
  return got === right;
}

function shown(value: AnswerValue): string {
  return JSON.stringify(value, (_name, item: unknown) => (typeof item === 'bigint' ? String(item) : item));
}
