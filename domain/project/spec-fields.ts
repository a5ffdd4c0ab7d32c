/** Pieces that every part of a project's JSON is read with. */
import { type CheckedFields, specInvalid } from '../rollout/checked-fields.ts';
import { checkExpression } from './check-expression.ts';
import type { ColumnType, Expression } from './expression.ts';
import { checkName, DEFINITION_NAME } from './names.ts';

export const COLUMN_TYPES: readonly ColumnType[] = ['i64', 'f64', 'bool', 'str', 'ts'];
const MAX_ENTRIES = 2_000;
const MAX_DESCRIPTION_CHARS = 2_000;

export function definitionName(fields: CheckedFields): string {
  return checkName(fields.raw('name'), DEFINITION_NAME, fields.at('name'));
}

export function description(fields: CheckedFields): string {
  const value = fields.raw('description');
  if (typeof value !== 'string' || value.length > MAX_DESCRIPTION_CHARS) {
    throw specInvalid(
      fields.at('description'),
      value,
      `it must be a text of at most ${MAX_DESCRIPTION_CHARS} characters, empty when there is nothing to say`,
    );
  }
  return value;
}

export function expression(fields: CheckedFields, name: string): Expression {
  return checkExpression(fields.raw(name), fields.at(name));
}

export function expressionOrNull(fields: CheckedFields, name: string): Expression | null {
  return fields.raw(name) === null ? null : expression(fields, name);
}

export function texts(fields: CheckedFields, name: string, atLeast = 1): string[] {
  const list = listOf(fields, name, atLeast);
  const wrong = list.findIndex((entry) => typeof entry !== 'string');
  if (wrong >= 0) throw specInvalid(`${fields.at(name)}[${wrong}]`, list[wrong], 'it must be a text');
  return list as string[];
}

/** Entries are named in messages by their `name` (or alias) where they have one: `sources.flights.columns.delay`. */
export function entries<T>(
  fields: CheckedFields,
  name: string,
  read: (value: unknown, path: string) => T,
  atLeast = 0,
): T[] {
  const at = fields.path === 'project' ? name : fields.at(name);
  return listOf(fields, name, atLeast).map((entry, index) => read(entry, entryPath(at, entry, index)));
}

function entryPath(at: string, entry: unknown, index: number): string {
  const { name, alias, version } = (entry ?? {}) as Readonly<Record<string, unknown>>;
  const called = typeof name === 'string' ? name : alias;
  if (typeof called !== 'string' || !/^[a-z0-9_-]+$/.test(called)) return `${at}[${index}]`;
  return typeof version === 'number' ? `${at}.${called}@${version}` : `${at}.${called}`;
}

function listOf(fields: CheckedFields, name: string, atLeast: number): readonly unknown[] {
  const value = fields.raw(name);
  if (!Array.isArray(value) || value.length < atLeast || value.length > MAX_ENTRIES) {
    throw specInvalid(fields.at(name), value, `it must be a list of ${atLeast} to ${MAX_ENTRIES} entries`);
  }
  return value;
}

/** Whole microseconds; what lengths mean something is for the rules of definitions. */
export function micros(fields: CheckedFields, name: string): number {
  const value = fields.raw(name);
  if (!Number.isSafeInteger(value))
    throw specInvalid(fields.at(name), value, 'it must be a duration in whole microseconds');
  return value as number;
}
