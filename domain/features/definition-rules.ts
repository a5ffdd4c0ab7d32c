/**
 * What a definition may not say, whoever reads it (the project's checks, the conformance runner): durations that mean
 * nothing, outputs of one name, a source split at two places, keys joined to another type. Each rule is a function that
 * gives the fault or null; `refuse` throws it.
 */
import { type ErrorCode, SerinError } from '../errors.ts';
import type { Instant } from '../instant.ts';

export interface DefinitionFault {
  readonly code: Extract<ErrorCode, 'BAD_DURATION' | 'NAME_CLASH' | 'BOUNDARY_MISMATCH' | 'KEY_TYPE_MISMATCH'>;
  /** A sentence that names the value and what would be right. */
  readonly rule: string;
}

export type Boundary = 'inclusive' | 'exclusive';

/** @param path where the definition is, such as `view delays@1, feature mean, window 2h` */
export function refuse(fault: DefinitionFault | null, path: string): void {
  if (fault !== null)
    throw new SerinError(fault.code, `${path}: ${fault.rule}`, { fields: { field: path, rule: fault.rule } });
}

/** Durations in microseconds; a null length is all of the past. `fn` matters for `rate`, which divides by the length. */
export function windowFault(window: {
  readonly length: Instant | null;
  readonly offset: Instant;
  readonly fn: string;
}): DefinitionFault | null {
  const { length, offset, fn } = window;
  if (length !== null && length <= 0) return badDuration(`a window must be longer than 0 µs, got ${length}`);
  if (offset < 0) return badDuration(`an offset moves a window back and cannot be negative, got ${offset} µs`);
  if (length === null && fn === 'rate')
    return badDuration('a rate needs a window with a length: all of the past has none');
  return null;
}

/** A TTL of 0 keeps a value alive at its own instant alone; null: for ever. */
export function ttlFault(ttl: Instant | null): DefinitionFault | null {
  return ttl !== null && ttl < 0 ? badDuration(`a TTL cannot be negative, got ${ttl} µs`) : null;
}

export function rateUnitFault(unit: Instant): DefinitionFault | null {
  return unit <= 0 ? badDuration(`the unit of a rate must be longer than 0 µs, got ${unit}`) : null;
}

/** The window of a label. */
export function labelWindowFault(label: {
  readonly gap: Instant;
  readonly horizon: Instant;
  readonly delay: Instant;
}): DefinitionFault | null {
  if (label.horizon <= 0) return badDuration(`a label's horizon must be longer than 0 µs, got ${label.horizon}`);
  if (label.gap < 0) return badDuration(`a label's gap cannot be negative, got ${label.gap} µs`);
  if (label.delay < 0) return badDuration(`a label's delay cannot be negative, got ${label.delay} µs`);
  return null;
}

export function embargoFault(embargo: Instant): DefinitionFault | null {
  return embargo < 0 ? badDuration(`an embargo cannot be negative, got ${embargo} µs`) : null;
}

/** What a split is told of its labels: one that is known with its own event reaches over nothing, and has a horizon of 0. */
export function splitFault(split: {
  readonly gap: Instant;
  readonly horizon: Instant;
  readonly delay: Instant;
  readonly embargo: Instant;
}): DefinitionFault | null {
  for (const name of ['gap', 'horizon', 'delay'] as const) {
    if (split[name] < 0) return badDuration(`a split's ${name} cannot be negative, got ${split[name]} µs`);
  }
  return embargoFault(split.embargo);
}

/** Columns of one table: request fields, features, labels, split. */
export function nameClash(names: readonly string[]): DefinitionFault | null {
  const seen = new Set<string>();
  for (const name of names) {
    if (seen.has(name))
      return { code: 'NAME_CLASH', rule: `two outputs are named "${name}": rename one, or use another alias` };
    seen.add(name);
  }
  return null;
}

/** With two boundaries the event at `asOf` itself would be on both sides, feature and label, or on none. */
export function boundaryMismatch(
  view: { readonly name: string; readonly source: string; readonly boundary: Boundary },
  label: { readonly name: string; readonly source: string; readonly boundary: Boundary },
): DefinitionFault | null {
  if (view.source !== label.source || view.boundary === label.boundary) return null;
  return {
    code: 'BOUNDARY_MISMATCH',
    rule:
      `view "${view.name}" is ${view.boundary} and label "${label.name}" is ${label.boundary} over one source, ` +
      `"${view.source}": give both the same boundary`,
  };
}

/** A key part equals a field of its own type alone: the number 1 is not the text "1". */
export function keyTypeMismatch(
  part: { readonly name: string; readonly type: string },
  field: { readonly name: string; readonly type: string },
): DefinitionFault | null {
  if (part.type === field.type) return null;
  return {
    code: 'KEY_TYPE_MISMATCH',
    rule: `the key part "${part.name}" is ${part.type} and the field "${field.name}" is ${field.type}: declare one type for both`,
  };
}

function badDuration(rule: string): DefinitionFault {
  return { code: 'BAD_DURATION', rule };
}
