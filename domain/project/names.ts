import { SerinError } from '../errors.ts';
import { specInvalid } from '../rollout/checked-fields.ts';

interface NameRule {
  readonly pattern: RegExp;
  readonly rule: string;
}

/** Columns, key parts, request fields, aliases, features: names that become SQL columns and parts of feature names. */
export const COLUMN_NAME: NameRule = {
  pattern: /^[a-z][a-z0-9_]{0,62}$/,
  rule: 'a name of a column or feature is 1 to 63 lower-case letters, digits and underscores, and starts with a letter',
};

/** Everything that has an address: projects, sources, entities, views, sets, spines, labels, models, trainings, monitors. */
export const DEFINITION_NAME: NameRule = {
  pattern: /^[a-z][a-z0-9_-]{0,62}$/,
  rule: 'a name is 1 to 63 lower-case letters, digits, underscores and hyphens, and starts with a letter',
};

export const WINDOW_NAME: NameRule = {
  pattern: /^[a-z0-9]{1,16}$/,
  rule: 'a name of a window is 1 to 16 lower-case letters and digits, such as 24h',
};

/** Columns that Serin adds to the log of a source. */
export const LOG_COLUMNS: readonly string[] = ['event_at', 'available_at', 'ingest_seq', 'event_id', 'op'];

/** Columns that Serin adds to a dataset, beside request fields and features. */
export const DATASET_COLUMNS: readonly string[] = ['row_id', 'as_of', 'label', 'label_status', 'split'];

export function checkName(
  name: unknown,
  { pattern, rule }: NameRule,
  path: string,
  reserved: readonly string[] = [],
): string {
  if (typeof name !== 'string' || !pattern.test(name)) throw specInvalid(path, name, rule);
  if (reserved.includes(name)) throw specInvalid(path, name, `the names ${reserved.join(', ')} are Serin's own`);
  return name;
}

/** @throws SerinError DUPLICATE_NAME */
export function checkDistinct(names: readonly string[], path: string, what: string): void {
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice === undefined) return;
  throw new SerinError(
    'DUPLICATE_NAME',
    `${path} has the ${what} "${twice}" twice; every ${what} needs a name of its own`,
    {
      fields: { field: path, value: twice, rule: `a ${what} is named once` },
    },
  );
}

/** What `name` refers to. @throws SerinError REFERENCE_MISSING, with the nearest valid name */
export function resolve<T>(name: string, among: ReadonlyMap<string, T>, path: string, what: string): T {
  const found = among.get(name);
  if (found === undefined) throw referenceMissing(name, [...among.keys()], path, what);
  return found;
}

export function referenceMissing(name: string, among: readonly string[], path: string, what: string): SerinError {
  const nearest = nearestName(name, among);
  const way =
    nearest === null
      ? `there is ${among.length === 0 ? `no ${what}` : among.slice(0, 20).join(', ')}`
      : `did you mean "${nearest}"?`;
  return new SerinError('REFERENCE_MISSING', `${path} is "${name}", but there is no ${what} of that name; ${way}`, {
    fields: { field: path, value: name, rule: `it must name a ${what}`, nearest },
  });
}

/** The name within a third of its length in edits (two at least, but never all of it); null when none is near. */
export function nearestName(name: string, among: readonly string[]): string | null {
  let best: string | null = null;
  let fewest = Math.min(name.length, Math.max(2, Math.floor(name.length / 3)) + 1);
  for (const candidate of among) {
    const edits = editDistance(name, candidate);
    if (edits < fewest) [best, fewest] = [candidate, edits];
  }
  return best;
}

/** Levenshtein distance, one row of the table at a time. */
function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const current = [row];
    for (let column = 1; column <= b.length; column++) {
      const substitution = previous[column - 1]! + (a[row - 1] === b[column - 1] ? 0 : 1);
      current.push(Math.min(substitution, previous[column]! + 1, current[column - 1]! + 1));
    }
    previous = current;
  }
  return previous[b.length]!;
}
