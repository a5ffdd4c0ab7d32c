import { SerinError } from '../../domain/errors.ts';
import { shownValue } from '../../domain/shown-value.ts';
import type { Row } from '../../domain/project/expression.ts';
import { isTimeFault, readTime } from '../../domain/features/time-text.ts';
import type { Micros } from '../../domain/time.ts';
import { newPredictionId } from '../accounting/prediction-id.ts';
import { personalFieldIn, personalFieldsOf } from '../accounting/redaction.ts';
import type { RouteEntry } from '../routing/route-entry.ts';
import type { Instance, Override } from '../scoring/answer.ts';
import type { FeatureInput } from '../scoring/feature-batch.ts';
import { fieldsFor } from '../scoring/request-for.ts';

/** Members of an instance that are not request fields. */
const RESERVED = ['id', 'unit', 'asOf'] as const;
export const MAX_INSTANCES = 1_000;
const MAX_TEXT = 256;
const HIDDEN = '…';

type Members = Readonly<Record<string, unknown>>;

interface Context {
  readonly entry: RouteEntry;
  readonly now: Micros;
  readonly override?: Override | undefined;
}

/**
 * The instances of a predict body, checked against the feature set of the champion: `{instances: […]}` or one instance.
 * @param override who is to answer all of them
 * @throws SerinError `INPUT_INVALID` naming the field, its value and the rule
 */
export function readInstances(body: unknown, entry: RouteEntry, now: Micros, override?: Override): Instance[] {
  if (!isObject(body)) throw invalid('', body, 'the body must be an object: {"instances": […]}, or one instance');
  const { instances, ...others } = body;
  const context = { entry, now, override };
  if (instances === undefined) return [readInstance(body, '', context)];
  const [other] = Object.keys(others);
  if (other !== undefined)
    throw invalid(
      other,
      unlessPersonal(others[other], entry),
      'beside instances there is nothing; an instance has its own members',
    );
  if (!Array.isArray(instances))
    throw invalid('instances', unlessPersonal(instances, entry), 'must be a list of instances');
  if (instances.length === 0 || instances.length > MAX_INSTANCES) {
    const rule = `must hold 1 to ${MAX_INSTANCES} of them`;
    throw new SerinError('INPUT_INVALID', `instances holds ${instances.length}: ${rule}`, {
      fields: { field: 'instances', rule },
    });
  }
  const read = instances.map((instance, i) => {
    const path = `instances/${i}`;
    if (!isObject(instance)) throw invalid(path, unlessPersonal(instance, entry), 'must be an object');
    return readInstance(instance, `${path}/`, context);
  });
  if (read.length > 1) refuseRepeatedIds(read);
  return read;
}

function readInstance(members: Members, path: string, { entry, now, override }: Context): Instance {
  const { id, unit, asOf, ...fields } = members;
  const predictionId = id === undefined ? newPredictionId() : readText(id, `${path}id`);
  const request = checkFields(fields, path, entry);
  if (id !== undefined) refusePersonalId(predictionId, `${path}id`, request, entry);
  return {
    predictionId,
    unit: unit === undefined ? unitOf(entry, fields, predictionId) : readText(unit, `${path}unit`),
    asOf: asOf === undefined ? now : readInstant(asOf, `${path}asOf`),
    isReplay: asOf !== undefined,
    fields,
    request,
    ...(override !== undefined && { override }),
  };
}

/** By the field that the rollout names; where it names none, or its value is not known, each prediction is a unit of its own. */
function unitOf({ route }: RouteEntry, fields: Members, predictionId: string): string {
  if (route.unit === null || !Object.hasOwn(fields, route.unit)) return predictionId;
  const value = fields[route.unit];
  return (typeof value === 'string' && value !== '') || typeof value === 'number' ? String(value) : predictionId;
}

/** A field that only another version of the route reads is not the champion's to refuse. */
function checkFields(fields: Members, path: string, entry: RouteEntry): Row {
  const { champion, loaded } = entry;
  const { input, featureSet } = champion;
  let extra = false;
  for (const name of Object.keys(fields)) {
    if (reads(input, name)) continue;
    extra = true;
    if (loaded.some((served) => reads(served.input, name))) continue;
    const known = [...input.request.map((field) => field.name), ...RESERVED].join(', ');
    const shown = unlessPersonal(fields[name], entry);
    throw invalid(`${path}${name}`, shown, `it is not a field of ${featureSet}; an instance has ${known}`);
  }
  try {
    return input.checkRequest(extra ? fieldsFor(input, fields) : fields);
  } catch (error) {
    if (!(error instanceof SerinError)) throw error;
    const { field } = error.fields;
    throw new SerinError('INPUT_INVALID', path === '' ? error.message : `${path.slice(0, -1)}: ${error.message}`, {
      cause: error,
      fields: { ...error.fields, field: `${path}${typeof field === 'string' ? field : ''}` },
    });
  }
}

/** What stands in the wrong place may be a personal value that belongs elsewhere, or a personal field that is misspelt. */
function unlessPersonal(value: unknown, entry: RouteEntry): unknown {
  return personalFieldsOf(entry).size > 0 ? HIDDEN : value;
}

/** An id goes where personal values do not: into the log and the table of outcomes, as it is. */
function refusePersonalId(id: string, field: string, request: Row, entry: RouteEntry): void {
  const personal = personalFieldIn(entry, id, request);
  if (personal === undefined) return;
  const rule = `must not hold the value of "${personal}", which is personal: ids are logged as they are`;
  throw new SerinError('INPUT_INVALID', `${field}: ${rule}`, { fields: { field, rule } });
}

function reads({ request }: FeatureInput, name: string): boolean {
  return request.some((field) => field.name === name);
}

function readText(value: unknown, field: string): string {
  if (typeof value !== 'string' || value.length === 0 || value.length > MAX_TEXT || !isPlain(value)) {
    throw invalid(
      field,
      value,
      `must be a text of 1 to ${MAX_TEXT} characters, well-formed and without control characters`,
    );
  }
  return value;
}

function readInstant(value: unknown, field: string): Micros {
  if (typeof value !== 'string') throw invalid(field, value, 'must be RFC 3339 text, such as "2001-06-01T12:00:00Z"');
  const at = readTime(value, null);
  if (isTimeFault(at)) throw invalid(field, value, at.rule);
  return at;
}

/** Ids join answers to outcomes: two answers under one would be one. */
function refuseRepeatedIds(instances: readonly Instance[]): void {
  const seen = new Set<string>();
  instances.forEach(({ predictionId }, i) => {
    if (seen.has(predictionId))
      throw invalid(`instances/${i}/id`, predictionId, 'is the id of another instance of the request too');
    seen.add(predictionId);
  });
}

/** What PostgreSQL takes as text: no control characters, no half of a surrogate pair. */
function isPlain(text: string): boolean {
  return !/[\p{Surrogate}\p{Cc}]/u.test(text);
}

function isObject(value: unknown): value is Members {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function invalid(field: string, value: unknown, rule: string): SerinError {
  // a member's name is the client's, too
  const name = field.length > MAX_TEXT ? `${field.slice(0, MAX_TEXT)}…` : field;
  return new SerinError('INPUT_INVALID', name === '' ? rule : `${name} is ${shownValue(value)}: ${rule}`, {
    fields: { field: name, rule },
  });
}
