/** From what SQL gives for an output to its value: exact numbers rounded once, as the kernel does. */
import { DuckDBListValue, type DuckDBValue } from '@duckdb/node-api';
import { aggregateOf } from '../../history/aggregates.ts';
import type { Datum } from '../../history/fact.ts';
import { toInstant } from '../../../domain/instant.ts';
import type { HistoryOutput, OutputValue } from '../../history/plan.ts';
import { roundRatio } from '../../history/rounding.ts';
import { partKind, type SlotTypes } from './aggregate-sql.ts';

/**
 * The value of an output, before its default.
 * @param parts as `partsSql` selects them; null: of no rows
 */
export function finishOutput(
  plan: SlotTypes,
  output: HistoryOutput,
  parts: readonly DuckDBValue[] | null,
): OutputValue {
  const [first = null, second = null] = parts ?? [];
  const type = output.slot < 0 ? null : plan.slots[output.slot]!.type;
  switch (partKind(output, type)) {
    case 'count': {
      const count = first === null ? 0n : (first as bigint);
      return output.fn === 'rate'
        ? roundRatio(count * BigInt(output.unit), BigInt(output.over!.length!))
        : Number(count);
    }
    case 'value':
    case 'sum':
      return datumOf(first);
    case 'sumAndCount':
      return first === null ? null : roundRatio(first as bigint, second as bigint);
    case 'holdsAndCount':
      return first === null || second === 0n ? null : Number(first) / Number(second);
    case 'values': {
      const accumulator = aggregateOf(output, type, null).create();
      // the order of these aggregates' rows has no meaning
      for (const value of first instanceof DuckDBListValue ? first.items : []) {
        accumulator.add(datumOf(value), NO_POSITION);
      }
      return accumulator.result(output);
    }
  }
}

const NO_POSITION = { eventAt: 0, availableAt: 0, seq: 0 };

export function datumOf(value: DuckDBValue): Datum {
  if (typeof value === 'bigint') return toInstant(value);
  if (value === null || typeof value === 'number' || typeof value === 'string' || typeof value === 'boolean')
    return value;
  throw new TypeError('a value of a feature is a number, a text or a truth value');
}
