import { readCase } from './case-file.ts';
import { writeJson } from './case-values.ts';
import { answerByOracle } from './oracle-answer.ts';
import { expectedOf } from './world-verdict.ts';
import { caseOf, sampleWorlds, worldsFile } from './worlds.ts';

/** A file of random worlds with what the oracle says is right; the same for the same count and seed. */
export function worldCases(count: number, seed: number): string {
  return writeJson(
    worldsFile(
      sampleWorlds(count, seed).map((draft, i) => {
        const raw = caseOf(draft, `world-${seed}-${i}`);
        const given = readCase(raw, `worlds[${i}]`);
        return { ...raw, expected: expectedOf(given, answerByOracle(given)) };
      }),
    ),
  );
}
