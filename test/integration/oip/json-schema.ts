import Schema from 'typebox/schema';

/** A compiled check of a JSON Schema (draft 2020-12), which says where a value breaks it. */
export function schemaCheck(schema: object): (value: unknown) => readonly string[] {
  const validator = Schema.Compile(schema);
  return (value) => {
    if (validator.Check(value)) return [];
    const [, errors] = validator.Errors(value);
    return errors.map(({ instancePath, message }) => `${instancePath} ${message}`);
  };
}
