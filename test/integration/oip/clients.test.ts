import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { identityOnnx, linearOnnx } from '../../../inference/model/onnx-fixture.ts';

const run = promisify(execFile);
const VENV = join(homedir(), '.cache', 'serin', 'oip-venv');
const CLIENT = 'tritonclient[all]==2.50.0';
const CLI = fileURLToPath(new URL('../../../bin/serin.mjs', import.meta.url));

let folder: string;
let server: ChildProcess | undefined;
let python: string | null = null;
let ports: { readonly http: number; readonly grpc: number };

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve));
  const { port } = probe.address() as AddressInfo;
  await new Promise((resolve) => probe.close(resolve));
  return port;
}

/** A Python with the real tritonclient, made once per machine; null where there is no Python or no package index. */
async function clientPython(): Promise<string | null> {
  const program = join(VENV, 'bin', 'python');
  try {
    if (!existsSync(program)) {
      await mkdir(join(VENV, '..'), { recursive: true });
      await run('python3', ['-m', 'venv', VENV]);
    }
    await run(program, ['-m', 'pip', 'install', '-q', CLIENT], { timeout: 240_000 });
    await run(program, ['-c', 'import tritonclient.http.aio, tritonclient.grpc']);
    return program;
  } catch (error) {
    console.warn(`skipped: the real tritonclient could not be installed (${String(error).split('\n')[0]})`);
    return null;
  }
}

beforeAll(async () => {
  python = await clientPython();
  folder = await mkdtemp(join(tmpdir(), 'serin-oip-clients-'));
  await writeFile(join(folder, 'm.onnx'), linearOnnx({ weights: [1, 0.5], bias: 0.25 }));
  await writeFile(join(folder, 'all.onnx'), identityOnnx({ elementTypes: [1, 7, 8, 9, 10, 11], width: 2 }));
  ports = { http: await freePort(), grpc: await freePort() };
  const models = ['m', 'all'].map((name) => `${name}=${join(folder, `${name}.onnx`)}`);
  const child = spawn(
    process.execPath,
    [CLI, 'serve', ...models, '--port', String(ports.http), '--grpc-port', String(ports.grpc), '--processes', '2'],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  server = child;
  await new Promise<void>((resolve, reject) => {
    child.stdout.on('data', (text: Buffer) => text.toString().includes('serving') && resolve());
    child.once('exit', (code) => reject(new Error(`serin serve ended with ${code}`)));
  });
}, 300_000);
afterAll(async () => {
  if (server?.exitCode === null) {
    const ended = new Promise((resolve) => server!.once('exit', resolve));
    server.kill('SIGTERM');
    await ended;
  }
  await rm(folder, { recursive: true, force: true });
});

test.each([
  ['HTTP, sync and asyncio, JSON and binary', 'http_client.py', 'http'],
  ['gRPC', 'grpc_client.py', 'grpc'],
] as const)(
  'the real tritonclient is served over %s',
  async (_, script, protocol) => {
    if (python === null) return;
    const { stdout } = await run(python, [
      fileURLToPath(new URL(script, import.meta.url)),
      `127.0.0.1:${ports[protocol]}`,
    ]);
    expect(stdout.trim()).toBe('ok');
  },
  60_000,
);
