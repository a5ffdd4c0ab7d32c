import type { OutputValue } from './plan.ts';

/**
 * An output as one number of a model's input: truth values are 1 and 0, whole numbers and instants the nearest double; what
 * is null or not finite is NaN, the null of vectors. @throws TypeError for text and lists, which no vector holds
 */
export function vectorNumber(value: OutputValue): number {
  switch (typeof value) {
    case 'number':
      return Number.isFinite(value) ? value : NaN;
    case 'boolean':
      return value ? 1 : 0;
    case 'bigint':
      return Number(value);
    default:
      if (value === null) return NaN;
      throw new TypeError(`a vector holds numbers, not ${JSON.stringify(value)}`);
  }
}
