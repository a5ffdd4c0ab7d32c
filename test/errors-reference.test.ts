import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { ERRORS } from '../domain/errors.ts';

test('docs/reference/errors.md has one row per error, with its status and whether it passes by itself', async () => {
  const page = await readFile(new URL('../docs/reference/errors.md', import.meta.url), 'utf8');
  const rows = [...page.matchAll(/^\| `([A-Z_]+)` \| (\d+) \| (yes|no) \|/gm)].map(([, code, status, retry]) => [
    code,
    { status: Number(status), retryable: retry === 'yes' },
  ]);
  const table = Object.entries(ERRORS).map(([code, { status, retryable }]) => [code, { status, retryable }]);
  expect(rows).toHaveLength(table.length);
  expect(Object.fromEntries(rows)).toEqual(Object.fromEntries(table));
});
