import { Type, type Static } from 'typebox';
import Value from 'typebox/value';
import { SerinError } from '../domain/errors.ts';

const KAFKA_SETTINGS = Type.Object(
  {
    /** `host:port` each; one that answers is enough. */
    brokers: Type.Array(Type.String({ pattern: '^[^:/\\s]+:\\d+$' }), { minItems: 1 }),
    /** By topic, the source that its records belong to. Several topics may feed one source. */
    topics: Type.Record(Type.String({ minLength: 1 }), Type.String({ minLength: 1 })),
    tls: Type.Optional(Type.Boolean()),
    sasl: Type.Optional(
      Type.Object(
        {
          mechanism: Type.Enum(['PLAIN', 'SCRAM-SHA-256', 'SCRAM-SHA-512']),
          username: Type.String({ minLength: 1 }),
          password: Type.String({ minLength: 1 }),
        },
        { additionalProperties: false },
      ),
    ),
  },
  { additionalProperties: false },
);

export type KafkaSettings = Readonly<Static<typeof KAFKA_SETTINGS>>;

export const KAFKA_EXPECTED = 'JSON like {"brokers":["kafka:9092"],"topics":{"flight-events":"flights"}}';

/**
 * Reads `SERIN_KAFKA`. @returns null when it is empty: nothing is consumed
 * @throws SerinError `CONFIG_INVALID`; the value is not shown, it may hold a password
 */
export function parseKafkaSettings(text: string): KafkaSettings | null {
  if (text === '') return null;
  let settings: unknown;
  try {
    settings = JSON.parse(text);
  } catch {
    settings = undefined;
  }
  if (Value.Check(KAFKA_SETTINGS, settings)) return settings;
  const [first] = settings === undefined ? [] : [...Value.Errors(KAFKA_SETTINGS, settings)];
  const where = first === undefined ? 'no JSON' : `wrong at ${first.instancePath || '/'} (${first.message})`;
  throw new SerinError('CONFIG_INVALID', `SERIN_KAFKA is ${where}, expected ${KAFKA_EXPECTED}`, {
    fields: { variable: 'SERIN_KAFKA', expected: KAFKA_EXPECTED },
  });
}
