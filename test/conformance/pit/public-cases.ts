import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { readCaseFile } from './case-file.ts';
import type { PitCase, UnreadableCase } from './case-types.ts';

/** The public cases and their judge are handed out beside the checkout, not in it. */
export const PUBLIC_CASES = fileURLToPath(new URL('../../../../shared/conformance/pit/cases.json', import.meta.url));
export const CHECK_PY = fileURLToPath(new URL('../../../../shared/conformance/pit/check.py', import.meta.url));
export const PUBLIC_CASES_ABSENT = !existsSync(PUBLIC_CASES);

/** Appended to the names of tests that are skipped without them. */
export const whyAbsent = PUBLIC_CASES_ABSENT ? ' (skipped: ../shared/conformance/pit is not here)' : '';

export function publicCases(): (PitCase | UnreadableCase)[] {
  return readCaseFile(readFileSync(PUBLIC_CASES, 'utf8'), PUBLIC_CASES);
}
