import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { SerinError } from '../domain/errors.ts';
import { loadProject } from './load-project.ts';

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'serin-load-'));
});

afterAll(() => rm(folder, { recursive: true, force: true }));

async function refusalOf(code: string): Promise<SerinError> {
  const file = join(folder, 'project.ts');
  await writeFile(file, code);
  return loadProject(file).then(
    () => expect.fail('the project was loaded'),
    (error: SerinError) => error,
  );
}

test('the flights example loads, the same at every call', async () => {
  const [first, second] = [
    await loadProject('examples/flights/project.ts'),
    await loadProject('examples/flights/project.ts'),
  ];
  expect(first.spec.models.map(({ name }) => name)).toEqual(['flight-delay']);
  expect(first.digest).toMatch(/^[0-9a-f]{64}$/);
  expect(second.digest).toBe(first.digest);
  expect(first.bundle).toEqual(second.bundle);
  // self-contained: nothing is left to resolve
  expect(new TextDecoder().decode(first.bundle)).not.toMatch(/from ['"]serin['"]/);
});

test('a definition that is refused is named with its file and line', async () => {
  const error = await refusalOf(`import { column, hours, project, source } from 'serin';

const trains = source('trains', {
  columns: { at: column.ts() }, description: '', owner: 'x', eventAt: 'att',
  availableAt: (row) => row.at, eventId: ['at'], freshnessSla: hours(1),
});
export default project('trains', { description: '', models: [], sources: [trains] });
`);
  expect(error.code).toBe('REFERENCE_MISSING');
  expect(error.message).toMatch(/project\.ts:7: sources\.trains\.eventAt is "att".*did you mean "at"\?$/);
});

test.each([
  ['a line that is no TypeScript', `export default project(\n`, /project\.ts:2: Unexpected end of file$/],
  [
    'an import of nothing',
    `import { x } from './gone.ts';\nexport default x;\n`,
    /project\.ts:1: Could not resolve "\.\/gone\.ts"$/,
  ],
  [
    'code that throws',
    `const a: string[] = [];\nexport default a[0]!.length;\n`,
    /project\.ts:2: Cannot read properties of undefined/,
  ],
  ['a file without a default export', `export const a = 1;\n`, /project\.ts has no default export; end it with/],
  ['a default export that is no project', `export default 7;\n`, /^project is 7; it must be an object$/],
])('%s is refused in a sentence', async (_, code, message) => {
  const error = await refusalOf(code);
  expect(error.code).toBe('SPEC_INVALID');
  expect(error.message).toMatch(message);
});

test('a file that does not exist is named', async () => {
  await expect(loadProject(join(folder, 'none.ts'))).rejects.toThrow(/there is no project file .*none\.ts/);
});
