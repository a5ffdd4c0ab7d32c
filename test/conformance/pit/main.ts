/**
 * Runs cases about point-in-time correctness: `npm run conformance:pit -- FILE.json`.
 *
 * Exit 0 when every case passed on every path, 1 when any failed or a path could not be opened, 2 for a wrong command line
 * or a file that is none of the schema.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { SerinError } from '../../../domain/errors.ts';
import { answersFile, type PitArguments, readArguments, USAGE } from './arguments.ts';
import { readCaseFile } from './case-file.ts';
import type { PitCase, UnreadableCase } from './case-types.ts';
import { writeJson } from './case-values.ts';
import { openPath } from './paths/open.ts';
import { answersOf, describePath, type PathResult, runPath } from './run.ts';
import { worldCases } from './world-cases.ts';

async function main(): Promise<number> {
  let asked: PitArguments;
  let cases: (PitCase | UnreadableCase)[];
  try {
    asked = readArguments(process.argv.slice(2));
    cases = asked.file === null ? [] : readCaseFile(readFileSync(asked.file, 'utf8'), asked.file);
    if (asked.worlds > 0) {
      const file = worldCases(asked.worlds, asked.seed);
      if (asked.writeWorlds !== null) writeFileSync(asked.writeWorlds, file);
      cases.push(...readCaseFile(file, 'worlds'));
    }
  } catch (error) {
    const { message } = error as Error;
    console.error(error instanceof SerinError || (error as NodeJS.ErrnoException).code !== undefined ? message : error);
    if (!(error instanceof SerinError) || !message.includes('.json')) console.error(`\n${USAGE}`);
    return 2;
  }
  let [passed, failed] = [0, 0];
  for (const name of asked.paths) {
    const result = await runOn(name, cases);
    for (const line of describePath(result)) console.log(line);
    if (asked.answers !== null) {
      writeFileSync(answersFile(asked.answers, name, asked.paths.length > 1), `${writeJson(answersOf(result))}\n`);
    }
    const right = result.results.filter(({ reason }) => reason === null).length;
    passed += right;
    failed += result.results.length - right;
  }
  console.log(`${passed} passed, ${failed} failed`);
  return failed === 0 ? 0 : 1;
}

async function runOn(name: PathResult['path'], cases: readonly (PitCase | UnreadableCase)[]): Promise<PathResult> {
  let path;
  try {
    path = await openPath(name);
  } catch (error) {
    const reason = `the path cannot be opened: ${(error as Error).message}`;
    return { path: name, results: cases.map(({ id }) => ({ id, name: '', topic: 'not run', reason })) };
  }
  try {
    return await runPath(path, cases);
  } finally {
    await path.close();
  }
}

process.exitCode = await main();
