import '@fastify/swagger';
import type { FastifyInstance, FastifyTypeProvider, RawServerDefault } from 'fastify';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { type Static, type TObject, type TObjectOptions, type TProperties, type TSchema, Type } from 'typebox';
import { type ErrorCode, ERRORS, SerinError } from '../domain/errors.ts';
import { isTimeFault, readTime } from '../domain/features/time-text.ts';
import type { Micros } from '../domain/time.ts';
import { PROBLEM_TYPE } from '../platform/http-server.ts';
import type { Logger } from '../platform/logger.ts';
import { Problem } from '../platform/problem-schema.ts';

/** Handlers see bodies, queries and paths by the types of their TypeBox schemas. */
interface TypeBoxProvider extends FastifyTypeProvider {
  readonly validator: this['schema'] extends TSchema ? Static<this['schema']> : unknown;
}
export type Api = FastifyInstance<RawServerDefault, IncomingMessage, ServerResponse, Logger, TypeBoxProvider>;

/** By what it names, so that the examples of the description are those of one project. */
const nameLike = (example: string) => Type.String({ pattern: '^[A-Za-z][A-Za-z0-9_.-]{0,62}$', examples: [example] });
export const Name = nameLike('flight-delay');
export const ProjectName = nameLike('flights');
export const SourceName = nameLike('flights');
/** No entity of the flights: what takes one forgets it for good. */
export const EntityName = nameLike('customer');
export const FeatureName = nameLike('mean_delay');
export const Version = Type.Integer({ minimum: 0, maximum: 1_000_000, examples: [2] });
export const Digest = Type.String({ pattern: '^[0-9a-f]{4,64}$', examples: ['9f86d081884c'] });
export const Limit = Type.Integer({ minimum: 1, maximum: 500, default: 50, description: 'How many at most.' });
/** Chosen by the caller so that a repeated request is the same request. */
export const Key = Type.String({ pattern: '^[A-Za-z0-9._-]{1,64}$', examples: ['2001-06-nightly'] });
export const Reason = Type.String({
  minLength: 1,
  maxLength: 1_000,
  examples: ['the loss is within its margin on every slice'],
});

/** What answers hold: integer microseconds since 1970-01-01T00:00:00Z. */
export const At = Type.Integer({
  description: 'Microseconds since 1970-01-01T00:00:00Z.',
  examples: [991_396_800_000_000],
});
/** What requests hold: the same, or RFC 3339 text with an offset. */
export const Instant = Type.Union([Type.Integer(), Type.String()], {
  description: 'RFC 3339 text with an offset, or integer microseconds since 1970-01-01T00:00:00Z.',
  examples: ['2001-06-01T12:00:00Z'],
});

/** @throws SerinError TIME_NO_ZONE, TIME_PRECISION, TIME_INVALID naming the field */
export function readInstant(value: number | string, field: string): Micros {
  const at = typeof value === 'string' ? readTime(value, null) : value;
  if (isTimeFault(at)) {
    throw new SerinError(at.fault, `${field} is ${JSON.stringify(value)}: ${at.rule}`, {
      fields: { field, value, rule: at.rule },
    });
  }
  return at;
}

/** A request body without members beyond these. */
export function Body<P extends TProperties>(
  properties: P,
  options: { readonly examples?: readonly unknown[] } = {},
): TObject<P> {
  return Type.Object(properties, { additionalProperties: false, ...options } as TObjectOptions);
}

/** A document that is defined elsewhere (a spec, a manifest, a report): described, not spelled out. */
export function Document(description: string): TSchema {
  return Type.Unknown({ description });
}

export function Maybe<T extends TSchema>(schema: T) {
  return Type.Union([schema, Type.Null()]);
}

const EVERYWHERE: readonly ErrorCode[] = ['INPUT_INVALID', 'UNAUTHENTICATED', 'FORBIDDEN', 'DATABASE_UNAVAILABLE'];

/** The answers of a route by status: what it gives, and its problems by their codes. */
export function answers(
  given: Readonly<Record<number, { readonly description: string; readonly schema: TSchema }>>,
  codes: readonly ErrorCode[] = [],
): Record<string, unknown> {
  const response: Record<string, unknown> = {};
  for (const [status, { description, schema }] of Object.entries(given)) {
    response[status] = { description, content: { 'application/json': { schema } } };
  }
  const all = [...new Set([...codes, ...EVERYWHERE])];
  for (const status of new Set(all.map((code) => ERRORS[code].status))) {
    const ofStatus = all.filter((code) => ERRORS[code].status === status);
    response[status] = {
      description: ofStatus.map((code) => `\`${code}\`: ${ERRORS[code].title}`).join('; '),
      content: { [PROBLEM_TYPE]: { schema: Problem } },
    };
  }
  return response;
}
