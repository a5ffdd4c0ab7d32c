/** The real tritonclient against the real `serin serve`, as a user of it would have both. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { identityOnnx, linearOnnx } from '../../../inference/model/onnx-fixture.ts';
import { type ServedModels, serveModels } from './serve-models.ts';
import { tritonPrograms } from './triton-tools.ts';

const run = promisify(execFile);
/** onnx.proto's numbers of the datatypes of client_data.py, in its order. */
const ELEMENT_TYPES = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13];

let programs: string | null;
let server: ServedModels;
beforeAll(async () => {
  programs = await tritonPrograms();
  server = await serveModels(
    {
      m: linearOnnx({ weights: [1, 0.5], bias: 0.25 }),
      all: identityOnnx({ elementTypes: ELEMENT_TYPES, width: 2 }),
      wide: identityOnnx({ elementTypes: [1], width: 1_000 }),
    },
    { processes: 2 },
  );
}, 300_000);
afterAll(() => server.close());

test.each([
  ['HTTP, sync and asyncio, JSON and binary', 'http_client.py'],
  ['gRPC, sync and asyncio', 'grpc_client.py'],
] as const)(
  'the real tritonclient is served over %s',
  async (_, script) => {
    if (programs === null) return;
    const path = fileURLToPath(new URL(script, import.meta.url));
    const port = script === 'grpc_client.py' ? server.grpcPort : server.port;
    const { stdout } = await run(join(programs, 'python'), ['-B', path, `127.0.0.1:${port}`]);
    expect(stdout.trim()).toBe('ok');
  },
  120_000,
);
