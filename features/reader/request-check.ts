/** What an instance of a request must look like; values are never converted. */
import { SerinError } from '../../domain/errors.ts';
import { shownValue } from '../../domain/shown-value.ts';
import { isTimeFault, readTime } from '../../domain/features/time-text.ts';
import type { Row, Value } from '../../domain/project/expression.ts';
import type { RequestField } from '../../domain/project/spec.ts';
import type { FeatureSetPlan } from '../kernel/feature-set-plan.ts';

/**
 * @param personal fields whose values no message shows: messages are answered, counted and logged by others, too
 * @returns a check that gives the instance as a row, or throws INPUT_INVALID naming the field, its value and the rule
 */
export function createRequestCheck(
  { id, request }: Pick<FeatureSetPlan, 'id' | 'request'>,
  personal: readonly string[] = [],
): (instance: unknown) => Row {
  // a field that is not known may be one that is misspelt
  const shows = (field: string): boolean => personal.length === 0 || (names.has(field) && !personal.includes(field));
  const inputInvalid = (featureSet: string, field: string, value: unknown, rule: string): SerinError =>
    refusal(featureSet, field, value === undefined || shows(field) ? value : HIDDEN, rule);
  const checks = request.map((field) => ({ name: field.name, read: fieldReader(field, inputInvalid) }));
  const names = new Set(request.map(({ name }) => name));
  const allowed = `the fields are ${[...names].join(', ')}`;
  return (instance) => {
    if (typeof instance !== 'object' || instance === null || Array.isArray(instance)) {
      throw inputInvalid(id, '', instance, `an instance is an object; ${allowed}`);
    }
    const given = instance as Readonly<Record<string, unknown>>;
    for (const name of Object.keys(given)) if (!names.has(name)) throw inputInvalid(id, name, given[name], allowed);
    const row: Record<string, Value> = {};
    for (const { name, read: readField } of checks) {
      if (!Object.hasOwn(given, name) || given[name] === undefined) {
        throw inputInvalid(id, name, undefined, 'the field is required (null says that it is not known)');
      }
      row[name] = given[name] === null ? null : readField(id, given[name]);
    }
    return row;
  };
}

type Refuse = (featureSet: string, field: string, value: unknown, rule: string) => SerinError;

function fieldReader(
  { name, type }: RequestField,
  inputInvalid: Refuse,
): (featureSet: string, value: unknown) => Exclude<Value, null> {
  switch (type) {
    case 'i64':
      return (featureSet, value) => {
        if (Number.isSafeInteger(value)) return (value as number) + 0;
        throw inputInvalid(featureSet, name, value, 'a whole number within ±(2^53 − 1)');
      };
    case 'f64':
      return (featureSet, value) => {
        if (Number.isFinite(value)) return (value as number) + 0;
        throw inputInvalid(featureSet, name, value, 'a finite number');
      };
    case 'bool':
      return (featureSet, value) => {
        if (typeof value === 'boolean') return value;
        throw inputInvalid(featureSet, name, value, 'true or false');
      };
    case 'str':
      return (featureSet, value) => {
        if (typeof value === 'string' && !/\p{Surrogate}/u.test(value)) return value;
        throw inputInvalid(featureSet, name, value, 'text of well-formed Unicode');
      };
    case 'ts':
      return (featureSet, value) => {
        if (typeof value !== 'string') throw inputInvalid(featureSet, name, value, 'RFC 3339 text with an offset');
        const time = readTime(value, null);
        if (!isTimeFault(time)) return time;
        throw inputInvalid(featureSet, name, value, time.rule);
      };
  }
}

const HIDDEN = Symbol('personal');

function refusal(featureSet: string, field: string, value: unknown, rule: string): SerinError {
  const shown = shownOf(value);
  const detail = field === '' ? `${shown} is refused: ${rule}` : `the field "${field}" is ${shown}: ${rule}`;
  return new SerinError('INPUT_INVALID', `${detail} (feature set ${featureSet})`, {
    fields: { field, value: shown, rule },
  });
}

function shownOf(value: unknown): string {
  if (value === HIDDEN) return 'not shown, it is personal';
  return value === undefined ? 'missing' : shownValue(value, 100);
}
