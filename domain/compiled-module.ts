/**
 * The URL of a compiled module, for threads and child processes. Compiled code lies in `dist/` in the same tree as its
 * source; code that itself runs from source (under the test runner) must start the compiled twin, since plain Node does
 * not read TypeScript.
 * @param from the caller's `import.meta.url`  @param relative path of the source file, as in an import (`./thread.ts`)
 */
export function compiledModule(from: string, relative: string): string {
  const url = new URL(relative.replace(/\.ts$/, '.js'), from).href;
  return from.endsWith('.ts') ? url.replace(PROJECT_ROOT, `${PROJECT_ROOT}dist/`) : url;
}

const PROJECT_ROOT = new URL('..', import.meta.url).href.replace(/dist\/$/, '');
