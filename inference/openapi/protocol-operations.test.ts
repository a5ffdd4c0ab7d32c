import { expect, test } from 'vitest';
import type { Datatype } from '../oip/datatypes.ts';
import type { TensorModel } from '../oip/model.ts';
import { protocolOperations } from './protocol-operations.ts';

/** As much of a model as an example is made of. */
const model = (version: string, datatype: Datatype, width: number): TensorModel =>
  ({ name: 'delay', version, inputs: [{ name: 'features', datatype, shape: [-1, width] }] }) as unknown as TensorModel;

const examplesOf = (path: string) => {
  // as the routes give them: the champion first, the rule, which takes doubles, last
  const models = [model('2', 'FP32', 2), model('1', 'FP32', 3), model('0', 'FP64', 2)];
  const { body } = protocolOperations({ models: () => models }).find((operation) => operation.path === path)!;
  return body!.content['application/json']!['examples'];
};

test('an example of a model is one that its answering version takes', () => {
  const value = { id: 'example', inputs: [{ name: 'features', datatype: 'FP32', shape: [1, 2], data: [0, 0] }] };
  expect(examplesOf('/v2/models/{model}/infer')).toEqual({ delay: { summary: 'for the model delay', value } });
  expect(examplesOf('/v2/models/{model}/versions/{version}/infer')).toEqual({
    delay: { summary: 'for version 2 of the model delay', value },
  });
});
