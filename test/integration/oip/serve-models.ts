import { spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort } from '../../../platform/embedded/free-port.ts';

const CLI = fileURLToPath(new URL('../../../bin/serin.mjs', import.meta.url));

export interface ServedModels {
  readonly url: string;
  readonly port: number;
  readonly grpcPort: number;
  /** What the server wrote to stderr and stdout so far. */
  log(): string;
  /** @throws when the server did not end by itself in order */
  close(): Promise<void>;
}

/** Starts the real `serin serve` with ONNX files of these bytes, and waits until it says that it serves. */
export async function serveModels(
  models: Readonly<Record<string, Uint8Array>>,
  { processes = 1 }: { readonly processes?: number } = {},
): Promise<ServedModels> {
  const folder = await mkdtemp(join(tmpdir(), 'serin-serve-'));
  const files: string[] = [];
  for (const [name, bytes] of Object.entries(models)) {
    const path = join(folder, `${name}.onnx`);
    await writeFile(path, bytes);
    files.push(`${name}=${path}`);
  }
  const [port, grpcPort] = [await freePort(), await freePort()];
  const child = spawn(
    process.execPath,
    [CLI, 'serve', ...files, '--port', String(port), '--grpc-port', String(grpcPort), '--processes', String(processes)],
    { stdio: ['ignore', 'pipe', 'pipe'] },
  );
  let log = '';
  const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
  await new Promise<void>((resolve, reject) => {
    const keep = (text: Buffer): void => {
      log += text.toString();
      if (log.includes('serving ')) resolve();
    };
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    void ended.then((code) => reject(new Error(`serin serve ended with ${code}: ${log}`)));
  });
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    grpcPort,
    log: () => log,
    async close() {
      child.kill('SIGTERM');
      const code = await ended;
      await rm(folder, { recursive: true, force: true });
      if (code !== 0) throw new Error(`serin serve ended with ${code}: ${log}`);
    },
  };
}
