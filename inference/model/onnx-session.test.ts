import { execFileSync } from 'node:child_process';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { linearOnnx } from './onnx-fixture.ts';
import { loadOnnxModel, trainedSignature } from './onnx-session.ts';

test('a model scores rows, and casts them to float32 as its trainer did', async () => {
  const model = await loadOnnxModel(linearOnnx({ weights: [0.5, -2], bias: 0.25 }), 'm v1', trainedSignature(2));
  expect([...(await model.score(Float64Array.of(1, 2, 4, 0), 2))]).toEqual([-3.25, 2.25]);
  expect([...(await model.score(Float64Array.of(0.1, 0), 1))]).toEqual([Math.fround(Math.fround(0.1) * 0.5 + 0.25)]);
  await model.release();
});

test.each([
  [
    'other width',
    { weights: [1, 1, 1], bias: 0 },
    'm v1: its input "features" takes 3 features, the feature set has 2',
  ],
  [
    'other input name',
    { weights: [1, 1], bias: 0, inputName: 'x' },
    'm v1: its input is called "x", expected "features"',
  ],
  [
    'other output name',
    { weights: [1, 1], bias: 0, outputName: 'y' },
    'm v1: it gives y float32 [N, 1], expected "score" float32 [N, 1]',
  ],
])('a model with %s is refused by what differs', async (_, linear, detail) => {
  await expect(loadOnnxModel(linearOnnx(linear), 'm v1', trainedSignature(2))).rejects.toMatchObject({
    code: 'MODEL_FILE_INVALID',
    message: detail,
  });
});

test('truncated and foreign files are refused', async () => {
  const whole = linearOnnx({ weights: [1, 1], bias: 0 });
  for (const bytes of [whole.slice(0, whole.length - 20), Buffer.from('no model at all')]) {
    await expect(loadOnnxModel(bytes, 'm v1')).rejects.toMatchObject({ code: 'MODEL_FILE_INVALID' });
  }
});

test('ONNX Runtime leaves no telemetry behind: nothing is written to a fresh home', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'serin-telemetry-'));
  const home = join(folder, 'home');
  await mkdir(home);
  const file = join(folder, 'model.onnx');
  await writeFile(file, linearOnnx({ weights: [1], bias: 0 }));
  // what `onnx-session.ts` does, in a process that has the home to itself
  const script = `
    process.env.ORT_DISABLE_TELEMETRY = ${JSON.stringify(process.env['ORT_DISABLE_TELEMETRY'] ?? '')};
    const { InferenceSession, Tensor } = require('onnxruntime-node');
    InferenceSession.create(${JSON.stringify(file)}).then((session) => session.run({ features: new Tensor('float32', [1], [1, 1]) }));`;
  execFileSync(process.execPath, ['-e', script], {
    cwd: fileURLToPath(new URL('../..', import.meta.url)),
    env: { PATH: process.env['PATH'], HOME: home, XDG_CACHE_HOME: join(home, '.cache'), TMPDIR: home },
  });
  expect(process.env['ORT_DISABLE_TELEMETRY']).toBe('1');
  expect(await readdir(home, { recursive: true })).toEqual([]);
  await rm(folder, { recursive: true });
});
