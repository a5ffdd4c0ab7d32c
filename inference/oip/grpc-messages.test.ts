import { expect, test } from 'vitest';
import { SerinError } from '../../domain/errors.ts';
import { GRPC_SERVICE } from './grpc-messages.ts';

const { requestDeserialize } = GRPC_SERVICE['ModelInfer']!;

function varint(value: number): Buffer {
  const bytes: number[] = [];
  for (; value > 127; value >>>= 7) bytes.push((value & 127) | 128);
  return Buffer.from([...bytes, value]);
}

/** A field that holds bytes: a text, a message, packed numbers. */
function field(number: number, bytes: Buffer): Buffer {
  return Buffer.concat([varint((number << 3) | 2), varint(bytes.length), bytes]);
}

const NOTHING = Buffer.alloc(0);
const many = (count: number, bytes: Buffer): Buffer => Buffer.concat(Array.from({ length: count }, () => bytes));
const contents = (number: number, bytes: Buffer): Buffer => field(5, field(5, field(number, bytes)));

test.each([
  ['inputs', many(50_000, field(5, NOTHING)), '10000 inputs, outputs and parameters'],
  ['outputs', many(50_000, field(6, NOTHING)), '10000 inputs, outputs and parameters'],
  ['parameters', many(50_000, field(4, NOTHING)), '10000 inputs, outputs and parameters'],
  ['parameters of an input', field(5, many(50_000, field(4, NOTHING))), '10000 inputs, outputs and parameters'],
  ['raw contents', many(1_000_001, field(7, NOTHING)), '1000000 values one by one'],
  ['dimensions', field(5, field(3, Buffer.alloc(1_000_001, 1))), '1000000 values one by one'],
  ['int64_contents', contents(3, Buffer.alloc(1_000_001, 1)), 'raw_input_contents'],
  ['uint64_contents', contents(5, Buffer.alloc(1_000_001, 1)), 'raw_input_contents'],
])('too many %s are refused before they are decoded', (_, bytes, rule) => {
  const refused: unknown = requestDeserialize(bytes);
  expect(refused).toBeInstanceOf(SerinError);
  expect(refused).toMatchObject({ code: 'INPUT_INVALID', message: expect.stringContaining(rule) as string });
});

test.each([
  ['numbers', contents(6, Buffer.alloc(4 << 20))],
  ['integers', contents(3, Buffer.alloc(200_000, 1))],
  ['raw contents', Buffer.concat([field(5, field(1, Buffer.from('a'))), field(7, Buffer.alloc(4 << 20))])],
])('a large message of %s is decoded', (_, bytes) => {
  const message = requestDeserialize(bytes) as unknown as { inputs: unknown[] };
  expect(message.inputs).toHaveLength(1);
});
