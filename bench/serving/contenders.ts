/** The servers that are compared, each started the way its users would, on the same model and the same two cores. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { copyFile, mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { messageOf } from '../../domain/errors.ts';
import { loadConfig } from '../../platform/config.ts';

const run = promisify(execFile);
// compiled files run from dist/: sources of other languages lie beside the TypeScript
const SOURCES = fileURLToPath(new URL('../../../bench/serving/', import.meta.url));
const CLI = fileURLToPath(new URL('../../../bin/serin.mjs', import.meta.url));
const PYTHON_PACKAGES = [
  'fastapi==0.165.0',
  'uvicorn[standard]==0.54.0',
  'litserve==0.2.19',
  'onnxruntime==1.31.1',
  'lightgbm==4.7.0',
  'onnxmltools==1.16.0',
  'skl2onnx==1.20.0',
];
/** Apart from the others: it pins what they need newer. With uvloop 0.22 its worker does not start (SeldonIO/MLServer#2286). */
const MLSERVER_PACKAGES = ['mlserver==1.7.1', 'uvloop<0.22', 'onnxruntime==1.31.1'];
const INSTALL_TIMEOUT_MS = 900_000;

export interface Contender {
  readonly name: string;
  /** Null: it cannot run here, for this reason. */
  readonly missing: string | null;
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

export interface Workshop {
  /** m.onnx, big.onnx, bodies.jsonl, m.golden.json */
  readonly folder: string;
  readonly load: string;
  contenders(model: 'm' | 'big', port: number): Contender[];
}

/** Builds what the comparison needs, once per machine. @throws when the load generator or the model cannot be made */
export async function openWorkshop(onProgress: (line: string) => void): Promise<Workshop> {
  const folder = await workFolder();
  const load = await buildLoad(onProgress);
  const rival = await buildGo('go-rival', folder, onProgress);
  const python = await pythonWith(folder, 'venv', PYTHON_PACKAGES, onProgress);
  if (python.missing !== null) throw new Error(`the model cannot be made: ${python.missing}`);
  if (!existsSync(join(folder, 'big.golden.json'))) {
    onProgress('training the models (LightGBM)');
    await run(python.path, [join(SOURCES, 'python', 'make_model.py'), folder], {
      env: { ...process.env, OMP_NUM_THREADS: '1', OMP_WAIT_POLICY: 'PASSIVE' },
    });
  }
  const mlserver = await pythonWith(folder, 'venv-mlserver', MLSERVER_PACKAGES, onProgress);
  await describeForMlserver(folder);
  const library = python.missing === null ? await ortLibrary(folder) : '';
  return {
    folder,
    load,
    contenders(model, port) {
      const file = join(folder, `${model}.onnx`);
      const serin = (processes: number): Contender => ({
        name: `serin, ${processes} process${processes > 1 ? 'es' : ''}`,
        missing: null,
        command: process.execPath,
        args: [CLI, 'serve', `m=${file}`, '--port', String(port), '--processes', String(processes)],
        env: {},
      });
      const fastapi = (workers: number): Contender => ({
        name: `FastAPI + ORT, ${workers} worker${workers > 1 ? 's' : ''}`,
        missing: python.missing,
        command: join(folder, 'venv', 'bin', 'uvicorn'),
        args: [
          'fastapi_server:app',
          '--app-dir',
          join(SOURCES, 'python'),
          '--port',
          String(port),
          '--workers',
          String(workers),
          '--no-access-log',
          '--log-level',
          'warning',
        ],
        env: { MODEL: file },
      });
      return [
        serin(2),
        {
          name: 'Go + ORT (one file)',
          missing: rival.missing,
          command: rival.path,
          args: ['-address', `127.0.0.1:${port}`, '-model', file, '-library', library],
          env: {},
        },
        serin(1),
        fastapi(2),
        fastapi(1),
        {
          name: 'LitServe',
          missing: python.missing,
          command: python.path,
          args: [join(SOURCES, 'python', 'litserve_server.py')],
          env: { MODEL: file, PORT: String(port) },
        },
        {
          name: 'MLServer + ORT',
          missing: mlserver.missing,
          command: join(folder, 'venv-mlserver', 'bin', 'mlserver'),
          args: ['start', join(folder, 'mlserver', model)],
          env: {
            PYTHONPATH: join(SOURCES, 'python'),
            MLSERVER_HTTP_PORT: String(port),
            MLSERVER_GRPC_PORT: String(port + 1),
            MLSERVER_METRICS_PORT: String(port + 2),
            // what it did best with: a pool of workers costs it more than it brings at one row a request
            MLSERVER_PARALLEL_WORKERS: '0',
            MLSERVER_DEBUG: 'false',
          },
        },
      ];
    },
  };
}

/** @returns the program @throws when there is no Go to build it */
export async function buildLoad(onProgress: (line: string) => void): Promise<string> {
  const { path, missing } = await buildGo('load', await workFolder(), onProgress);
  if (missing !== null) throw new Error(`the load generator cannot be built: ${missing}`);
  return path;
}

async function workFolder(): Promise<string> {
  const folder = join(loadConfig().cacheDir, 'serin', 'bench-serving');
  await mkdir(folder, { recursive: true });
  return folder;
}

interface Built {
  readonly path: string;
  readonly missing: string | null;
}

async function buildGo(name: string, folder: string, onProgress: (line: string) => void): Promise<Built> {
  const path = join(folder, name);
  const stamp = join(folder, `${name}.source`);
  const source = await readFile(join(SOURCES, name, 'main.go'), 'utf8');
  if (existsSync(path) && (await readFile(stamp, 'utf8').catch(() => '')) === source) return { path, missing: null };
  onProgress(`building ${name} (Go)`);
  const work = join(folder, `${name}-source`);
  await mkdir(work, { recursive: true });
  for (const file of await readdir(join(SOURCES, name))) await copyFile(join(SOURCES, name, file), join(work, file));
  try {
    await run('go', ['build', '-o', path, '.'], { cwd: work, timeout: INSTALL_TIMEOUT_MS });
    await writeFile(stamp, source);
    return { path, missing: null };
  } catch (error) {
    return { path, missing: `go build ${name}: ${reasonOf(error)}` };
  }
}

async function pythonWith(
  folder: string,
  name: string,
  packages: readonly string[],
  onProgress: (line: string) => void,
): Promise<Built> {
  const path = join(folder, name, 'bin', 'python');
  const stamp = join(folder, name, 'serin-packages');
  const wanted = packages.join('\n');
  if ((await readFile(stamp, 'utf8').catch(() => '')) === wanted) return { path, missing: null };
  onProgress(`installing ${packages.join(', ')} (once per machine)`);
  try {
    await run('python3', ['-m', 'venv', join(folder, name)]);
    await run(path, ['-m', 'pip', 'install', '--quiet', ...packages], { timeout: INSTALL_TIMEOUT_MS });
    await writeFile(stamp, wanted);
    return { path, missing: null };
  } catch (error) {
    return { path, missing: `pip install: ${reasonOf(error)}` };
  }
}

/** One folder for each model: MLServer serves what it finds described in one. */
async function describeForMlserver(folder: string): Promise<void> {
  for (const model of ['m', 'big']) {
    const own = join(folder, 'mlserver', model);
    await mkdir(own, { recursive: true });
    const settings = {
      name: 'm',
      implementation: 'mlserver_ort.OrtRuntime',
      parameters: { uri: join(folder, `${model}.onnx`) },
    };
    await writeFile(join(own, 'model-settings.json'), JSON.stringify(settings));
  }
}

/** The library out of the Python package: one ONNX Runtime for all but Serin, which has its own. */
async function ortLibrary(folder: string): Promise<string> {
  const lib = join(folder, 'venv', 'lib');
  for (const python of await readdir(lib)) {
    const capi = join(lib, python, 'site-packages', 'onnxruntime', 'capi');
    const found = (await readdir(capi).catch(() => [])).find((name) => name.startsWith('libonnxruntime.so'));
    if (found !== undefined) return join(capi, found);
  }
  return '';
}

function reasonOf(error: unknown): string {
  return messageOf(error).trim().split('\n').at(-1)!;
}
