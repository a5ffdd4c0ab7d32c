import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { compiledModule } from '../../domain/compiled-module.ts';
import { fussyOnnx } from './onnx-fixture.ts';

/** A value that a client sent, and that may be personal. */
const MARKER = 77_123;

test('a run that ONNX Runtime ends with an error is told by that error alone: nothing is written past the log', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'serin-failing-'));
  const path = join(folder, 'fussy.onnx');
  await writeFile(path, fussyOnnx({ width: 1 }));
  // as a session of its own, and as a version is loaded
  const script = `
    const { openOrtSession } = await import(${JSON.stringify(compiledModule(import.meta.url, './ort-session.ts'))});
    const { ModelLoader } = await import(${JSON.stringify(compiledModule(import.meta.url, './model-loader.ts'))});
    const loader = new ModelLoader();
    const sessions = [
      await openOrtSession(${JSON.stringify(path)}, 'm', { mapped: false }),
      await loader.load({ path: ${JSON.stringify(path)}, name: 'm' }),
    ];
    for (const session of sessions) {
      const given = [{ datatype: 'FP32', shape: [1, 1], data: Float32Array.of(${MARKER}) }];
      await session.run(given, [0]).then(() => console.log('answered'), ({ message }) => console.log(message));
      await session.release();
    }
    await loader.close();`;
  const { stdout, stderr } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script], {
    cwd: fileURLToPath(new URL('../..', import.meta.url)),
  });
  await rm(folder, { recursive: true });
  expect(stdout.match(/out of data bounds/g)).toHaveLength(2);
  expect(stderr).toBe('');
});
