import { expect, test } from 'vitest';
import { loadConfig } from './config.ts';
import { parseKafkaSettings } from './kafka-settings.ts';

test('no setting reads no topic', () => {
  expect(parseKafkaSettings('')).toBeNull();
  expect(loadConfig({}).kafkaSettings).toBeNull();
});

test('brokers, topics and how to sign in are read', () => {
  const settings = {
    brokers: ['kafka-1:9092', 'kafka-2:9092'],
    topics: { 'flight-events': 'flights' },
    tls: true,
    sasl: { mechanism: 'SCRAM-SHA-256', username: 'serin', password: 'secret' },
  };
  expect(loadConfig({ SERIN_KAFKA: JSON.stringify(settings) }).kafkaSettings).toEqual(settings);
});

test.each([
  ['text that is no JSON', 'kafka:9092', 'no JSON'],
  ['no broker', '{"brokers":[],"topics":{}}', '/brokers'],
  ['a broker without a port', '{"brokers":["kafka"],"topics":{}}', '/brokers/0'],
  ['a source that is no text', '{"brokers":["kafka:9092"],"topics":{"a":1}}', '/topics'],
  [
    'a mechanism that does not exist',
    '{"brokers":["k:1"],"topics":{},"sasl":{"mechanism":"MD5","username":"u","password":"hunter2"}}',
    '/sasl',
  ],
  ['a setting that does not exist', '{"brokers":["k:1"],"topics":{},"groupId":"g"}', 'wrong'],
])('%s is refused by the name of the variable, without showing its value', (_, text, where) => {
  expect(() => loadConfig({ SERIN_KAFKA: text })).toThrow(
    expect.objectContaining({ code: 'CONFIG_INVALID', message: expect.stringMatching(`^SERIN_KAFKA is .*${where}`) }),
  );
  expect(() => loadConfig({ SERIN_KAFKA: text })).not.toThrow(/hunter2/);
});
