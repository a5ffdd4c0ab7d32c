import type { Row } from '../../domain/project/expression.ts';
import type { ServedVersion } from '../model/served-version.ts';
import type { Instance } from './answer.ts';
import type { FeatureInput } from './feature-batch.ts';

/** Of the fields an instance has, those that a feature set reads: another version of the route may read more. */
export function fieldsFor({ request }: Pick<FeatureInput, 'request'>, fields: Instance['fields']): Instance['fields'] {
  const own: Record<string, unknown> = {};
  for (const { name } of request) if (Object.hasOwn(fields, name)) own[name] = fields[name];
  return own;
}

/** The request as `served` takes it. @throws SerinError `INPUT_INVALID` when its feature set does not take it */
export function requestFor(served: ServedVersion, champion: ServedVersion, instance: Instance): Row {
  if (served.input === champion.input) return instance.request;
  return served.input.checkRequest(fieldsFor(served.input, instance.fields));
}
