/** Where two pieces of a spec differ, field by field; entries of lists are matched by their names. */
import { canonicalJson } from '../canonical-json.ts';
import type { Expression } from './expression.ts';
import { durationText, expressionText } from './expression-text.ts';

export interface Difference {
  /** Names of fields and entries, outermost first: `['features', 'mean_delay', 'windows', '3h', 'lengthMicros']`. */
  readonly path: readonly string[];
  /** Undefined: it was not there. */
  readonly before: unknown;
  /** Undefined: it is not there any more. */
  readonly after: unknown;
}

export function differences(before: unknown, after: unknown, path: readonly string[] = []): Difference[] {
  if (same(before, after)) return [];
  if (isNamedList(before) && isNamedList(after)) return listDifferences(before, after, path);
  if (isRecord(before) && isRecord(after) && !isExpression(before) && !isExpression(after)) {
    const names = [...new Set([...Object.keys(before), ...Object.keys(after)])];
    return names.flatMap((name) => differences(before[name], after[name], [...path, name]));
  }
  return [{ path, before, after }];
}

function listDifferences(before: readonly Named[], after: readonly Named[], path: readonly string[]): Difference[] {
  const [old, now] = [byName(before), byName(after)];
  const names = [...new Set([...old.keys(), ...now.keys()])];
  const found = names.flatMap((name) => differences(old.get(name), now.get(name), [...path, name]));
  const kept = (list: ReadonlyMap<string, Named>): string[] =>
    [...list.keys()].filter((name) => old.has(name) && now.has(name));
  if (same(kept(old), kept(now))) return found;
  return [...found, { path: [...path, ORDER], before: kept(old), after: kept(now) }];
}

/** The last name of a path whose entries are the same, in another order. */
export const ORDER = '(order)';

/** `feature mean_delay: window 3h: length 3h → 4h` */
export function differenceText({ path, before, after }: Difference): string {
  const name = path.at(-1) ?? '';
  if (name === ORDER) return `${placeOf(path.slice(0, -2))}the order of ${path.at(-2) ?? 'entries'} changed`;
  const where = placeOf(path.slice(0, -1));
  if (isEntry(path)) {
    const what = `${singular(path.at(-2) ?? '')} ${name}`;
    const within = placeOf(path.slice(0, -2));
    if (before === undefined) return `${within}${what} is new`;
    if (after === undefined) return `${within}${what} is gone`;
  }
  const label = FIELD_NAMES[name] ?? name;
  if (before === undefined) return `${where}${label} ${shown(name, after)} is new`;
  if (after === undefined) return `${where}${label} ${shown(name, before)} is gone`;
  return `${where}${label} ${shown(name, before)} → ${shown(name, after)}`;
}

const FIELD_NAMES: Readonly<Record<string, string>> = {
  fn: 'function',
  of: 'what is aggregated',
  by: 'the grouping',
  where: 'the condition',
  lengthMicros: 'length',
  hopMicros: 'hop',
  offsetMicros: 'offset',
  ttlMicros: 'TTL',
  gapMicros: 'gap',
  horizonMicros: 'horizon',
  delayMicros: 'delay',
  embargoMicros: 'embargo',
  unitMicros: 'unit',
  freshnessSlaSeconds: 'freshness SLA',
  availableAt: 'availability',
  eventAt: 'event time',
  eventId: 'event id',
};

/** Lists of named entries, and what one of them is called. */
const ENTRIES: Readonly<Record<string, string>> = {
  columns: 'column',
  keys: 'key part',
  features: 'feature',
  windows: 'window',
  request: 'request field',
  views: 'view',
  monitors: 'monitor',
  trainings: 'training',
};

function isEntry(path: readonly string[]): boolean {
  return Object.hasOwn(ENTRIES, path.at(-2) ?? '') && path.length % 2 === 0;
}

function singular(list: string): string {
  return ENTRIES[list] ?? list;
}

function placeOf(path: readonly string[]): string {
  const places: string[] = [];
  for (let i = 0; i < path.length; i++) {
    const list = path[i] ?? '';
    const entry = path[i + 1];
    if (Object.hasOwn(ENTRIES, list) && entry !== undefined) {
      places.push(`${singular(list)} ${entry}: `);
      i++;
    } else places.push(`${FIELD_NAMES[list] ?? list}: `);
  }
  return places.join('');
}

const MAX_SHOWN = 120;

function shown(name: string, value: unknown): string {
  if (name.endsWith('Micros') && (typeof value === 'number' || value === null)) {
    return value === null && name !== 'lengthMicros' ? 'none' : durationText(value);
  }
  if (name === 'freshnessSlaSeconds' && typeof value === 'number') return durationText(value * 1_000_000);
  const text = isExpression(value) ? expressionText(value) : JSON.stringify(value);
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text;
}

interface Named {
  readonly name?: string;
  readonly alias?: string;
}

function isNamedList(value: unknown): value is readonly Named[] {
  return Array.isArray(value) && value.every((entry) => isRecord(entry) && typeof nameIn(entry) === 'string');
}

function byName(list: readonly Named[]): Map<string, Named> {
  return new Map(list.map((entry) => [nameIn(entry) ?? '', entry]));
}

function nameIn({ name, alias }: Named): string | undefined {
  return name ?? alias;
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isExpression(value: unknown): value is Expression {
  return isRecord(value) && typeof value['op'] === 'string';
}

function same(before: unknown, after: unknown): boolean {
  if (before === undefined || after === undefined) return before === after;
  return canonicalJson(before) === canonicalJson(after);
}
