export const JSON_SCHEMA = 'https://json-schema.org/draft/2020-12/schema';

/** A JSON Schema, as the plain object that it is. */
export type JsonSchema = Readonly<Record<string, unknown>>;

/** What one model takes and gives. */
export interface ModelSchema {
  readonly model: string;
  readonly version: string;
  readonly request: JsonSchema;
  readonly response: JsonSchema;
  /** A request that is answered. */
  readonly example: Readonly<Record<string, unknown>>;
}
