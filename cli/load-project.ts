import { createHash } from 'node:crypto';
import { access, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { SourceMap, type SourceMapPayload } from 'node:module';
import { tmpdir } from 'node:os';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build, type BuildFailure, type BuildResult, type Message } from 'esbuild';
import { canonicalJson } from '../domain/canonical-json.ts';
import { compiledModule } from '../domain/compiled-module.ts';
import { isErrorCode, SerinError, type ErrorCode } from '../domain/errors.ts';
import { checkProjectSpec } from '../domain/project/check.ts';
import type { ProjectSpec } from '../domain/project/spec.ts';

export interface LoadedProject {
  readonly spec: ProjectSpec;
  /** SHA-256 (hex) of the canonical JSON of `spec`. */
  readonly digest: string;
  /** The project's code as one JavaScript module, definitions included: what was run to make `spec`. */
  readonly bundle: Uint8Array;
}

/**
 * Runs a project file (TypeScript or JavaScript) and takes its default export. `serin` resolves to this installation,
 * whatever node_modules the file lies beside.
 * @throws SerinError SPEC_INVALID and the other codes of `checkProjectSpec`; the detail starts with file:line where it is known
 */
export async function loadProject(path: string): Promise<LoadedProject> {
  const file = resolve(path);
  const { code, map } = await bundleProject(file);
  const exported = await runBundle(code, map, file);
  const spec = checkProjectSpec(exported);
  return {
    spec,
    digest: createHash('sha256').update(canonicalJson(spec)).digest('hex'),
    bundle: new TextEncoder().encode(code),
  };
}

async function bundleProject(file: string): Promise<{ code: string; map: string }> {
  await access(file).catch((cause: unknown) => {
    throw new SerinError('SPEC_INVALID', `there is no project file ${shownPath(file)}`, { cause });
  });
  const authoring = fileURLToPath(compiledModule(import.meta.url, '../domain/project/authoring.ts'));
  let result: BuildResult<{ write: false }>;
  try {
    result = await build({
      entryPoints: [file],
      alias: { serin: authoring },
      bundle: true,
      format: 'esm',
      platform: 'node',
      target: 'node20',
      sourcemap: 'external',
      outfile: join(dirname(file), 'project.mjs'),
      absWorkingDir: dirname(file),
      write: false,
      logLevel: 'silent',
    });
  } catch (error) {
    const [first] = (error as Partial<BuildFailure>).errors ?? [];
    if (first === undefined) throw error;
    throw new SerinError('SPEC_INVALID', `${placeOf(first, file)}: ${first.text}`, { cause: error });
  }
  const output = (suffix: string): string => result.outputFiles.find((each) => each.path.endsWith(suffix))?.text ?? '';
  return { code: output('.mjs'), map: output('.map') };
}

async function runBundle(code: string, map: string, file: string): Promise<unknown> {
  const folder = await mkdtemp(join(tmpdir(), 'serin-project-'));
  const module = join(folder, 'project.mjs');
  try {
    await writeFile(module, code);
    const exported = (await import(pathToFileURL(module).href)) as { default?: unknown };
    if (exported.default === undefined) {
      throw new SerinError(
        'SPEC_INVALID',
        `${shownPath(file)} has no default export; end it with: export default project('…', { … })`,
      );
    }
    return exported.default;
  } catch (error) {
    throw located(error, module, map, file);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The error with the line of the project that led to it. An error of the bundled copy of `SerinError` becomes one of ours. */
function located(error: unknown, module: string, map: string, file: string): unknown {
  if (!(error instanceof Error) || error instanceof SerinError) return error;
  const { code, fields } = error as Partial<SerinError>;
  const known: ErrorCode = isErrorCode(code) ? code : 'SPEC_INVALID';
  const place = lineInProject(error.stack ?? '', module, map, file);
  return new SerinError(known, `${place ?? shownPath(file)}: ${error.message}`, { cause: error, fields: fields ?? {} });
}

/** The innermost stack frame that lies in the author's files, mapped back: `examples/flights/project.ts:12`. */
function lineInProject(stack: string, module: string, map: string, file: string): string | null {
  if (map === '') return null;
  const sourceMap = new SourceMap(JSON.parse(map) as SourceMapPayload);
  const installation = dirname(fileURLToPath(compiledModule(import.meta.url, '../domain/project/authoring.ts')));
  for (const line of stack.split('\n')) {
    const match = /:(\d+):(\d+)\)?$/.exec(line);
    if (match === null || !line.includes(basename(dirname(module)))) continue;
    const entry = sourceMap.findEntry(Number(match[1]) - 1, Number(match[2]) - 1);
    if (!('originalSource' in entry)) continue;
    const source = resolve(dirname(file), entry.originalSource);
    if (!isWithin(dirname(installation), source)) return `${shownPath(source)}:${entry.originalLine + 1}`;
  }
  return null;
}

/** Whether `path` is the installed (compiled or mapped back to source) definitions rather than the author's own file. */
function isWithin(compiledDomain: string, path: string): boolean {
  const sources = resolve(compiledDomain, '..', '..', 'domain');
  return [compiledDomain, sources].some((folder) => !relative(folder, path).startsWith('..'));
}

function placeOf({ location }: Message, file: string): string {
  return location === null ? shownPath(file) : `${shownPath(resolve(dirname(file), location.file))}:${location.line}`;
}

function shownPath(path: string): string {
  const fromHere = relative(process.cwd(), path);
  return fromHere.startsWith('..') ? path : fromHere;
}
