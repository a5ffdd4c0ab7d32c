import fc from 'fast-check';
import { expect, test } from 'vitest';
import { SerinError } from '../../domain/errors.ts';
import { checkTrainerSpec } from '../../domain/training/trainer-spec.ts';
import { aMatrix } from '../testing/a-matrix.ts';
import { startTraining } from '../training.ts';
import { exportModel } from './export-model.ts';
import { inspectOnnx } from './inspect-onnx.ts';
import { encodeModel, type Graph, type OnnxModel } from './onnx-messages.ts';

const file = (() => {
  const training = startTraining({
    spec: checkTrainerSpec({ kind: 'gbt', trees: 2, leaves: 4 }, 'spec'),
    matrix: aMatrix({ rows: 300 }),
    seed: 1,
  });
  while (!training.done) training.advance();
  return exportModel(training.model(), '0.0.0');
})();

const vector = (name: string): Graph['input'][number] => ({
  name,
  type: { tensor_type: { elem_type: 1, shape: { dim: [{ dim_value: 2 }, {}] } } },
});

/** A foreign but sound model: output = Identity(input). */
function aModel(graph: Partial<Graph> = {}, model: Partial<OnnxModel> = {}): Uint8Array {
  return encodeModel({
    ir_version: 8,
    producer_name: 'someone',
    producer_version: '1',
    opset_import: [{ domain: '', version: 13 }],
    metadata_props: [],
    graph: {
      name: 'g',
      node: [{ op_type: 'Identity', input: ['in'], output: ['out'] }],
      initializer: [],
      input: [vector('in')],
      output: [vector('out')],
      ...graph,
    },
    ...model,
  });
}

function refusal(bytes: Uint8Array): SerinError {
  try {
    inspectOnnx(bytes);
  } catch (error) {
    if (error instanceof SerinError) return error;
    throw error;
  }
  throw new Error('the file was accepted');
}

test('a foreign model is described', () => {
  expect(inspectOnnx(aModel())).toEqual({
    inputs: [{ name: 'in', type: 'float32', shape: [2, null] }],
    outputs: [{ name: 'out', type: 'float32', shape: [2, null] }],
    opsets: { 'ai.onnx': 13 },
    metadata: {},
    producer: 'someone',
  });
});

test('every truncation of a file is refused', () => {
  const lengths = [
    ...Array.from({ length: 200 }, (_, length) => length),
    ...Array.from({ length: 400 }, (_, back) => file.length - 1 - back),
  ];
  for (const length of lengths) expect(refusal(file.subarray(0, length)).code).toBe('MODEL_FILE_INVALID');
});

test.each([
  ['empty', new Uint8Array(), 'it is empty'],
  ['a zip', Uint8Array.from([0x50, 0x4b, 3, 4, 9, 9]), 'a ZIP archive'],
  ['Parquet', new TextEncoder().encode('PAR1....'), 'a Parquet file'],
  ['JSON', new TextEncoder().encode('{"a":1}'), 'it is JSON'],
  ['text', new TextEncoder().encode('hello, model'), 'not an ONNX model'],
  ['zeroes', new Uint8Array(100), 'not an ONNX model'],
  ['no nodes', aModel({ node: [] }), 'no operators'],
  ['no inputs', aModel({ input: [], node: [{ op_type: 'RandomNormal', input: [], output: ['out'] }] }), 'no inputs'],
  ['no outputs', aModel({ output: [] }), 'no outputs'],
  ['no opsets', aModel({}, { opset_import: [] }), 'no operator sets'],
  [
    'a dangling input',
    aModel({ node: [{ op_type: 'Identity', input: ['other'], output: ['out'] }] }),
    'reads other, which nothing',
  ],
  ['a dangling output', aModel({ output: [vector('elsewhere')] }), 'output elsewhere is produced by nothing'],
  [
    'a foreign operator set',
    aModel({ node: [{ op_type: 'Magic', domain: 'com.acme', input: ['in'], output: ['out'] }] }),
    'com.acme, which it does not import',
  ],
  [
    'external data',
    aModel({ initializer: [{ name: 'w', dims: [1], data_type: 1, raw_data: new Uint8Array(), data_location: 1 }] }),
    'tensor w lies in another file',
  ],
  ['a sequence output', aModel({ output: [{ name: 'out', type: {} }] }), 'is not a tensor'],
])('%s is refused with what is wrong', (_, bytes, reason) => {
  const error = refusal(bytes);
  expect(error.code).toBe('MODEL_FILE_INVALID');
  expect(error.message).toContain(reason);
});

/** Refuses or describes; anything else is a crash. */
function survives(bytes: Uint8Array): void {
  try {
    inspectOnnx(bytes);
  } catch (error) {
    if (!(error instanceof SerinError && error.code === 'MODEL_FILE_INVALID')) throw error;
  }
}

test('random bytes never crash the reader', () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), survives), { numRuns: 3000 });
});

test('a damaged file never crashes the reader', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(file.length - 1), fc.nat(255)), { minLength: 1, maxLength: 8 }), (damages) => {
      const damaged = file.slice();
      for (const [at, byte] of damages) damaged[at] = byte;
      survives(damaged);
    }),
    { numRuns: 1000 },
  );
});

test('groups nested beyond any depth are refused', () => {
  const startGroup15 = 0x7b;
  expect(refusal(new Uint8Array(200_000).fill(startGroup15)).message).toContain('not an ONNX model');
});
