/** The property that every path has: random worlds are answered as the oracle answers them. */
import fc from 'fast-check';
import { answerCase, type Path } from './answer.ts';
import { readCase } from './case-file.ts';
import { writeJson } from './case-values.ts';
import { answerByOracle } from './oracle-answer.ts';
import { expectedOf, strictVerdict } from './world-verdict.ts';
import { aWorld, caseOf, type WorldDraft, worldsFile } from './worlds.ts';

const SEED = 20_261_121;

/** @throws Error with the smallest world that goes wrong, as a file of one case */
export async function checkWorlds(path: Path, worlds: number, seed: number = SEED): Promise<void> {
  const result = await fc.check(
    fc.asyncProperty(aWorld, async (draft) => {
      const difference = await differenceOf(path, draft);
      if (difference !== null) throw new Error(difference);
    }),
    { numRuns: worlds, seed },
  );
  if (!result.failed) return;
  const raw = caseOf(result.counterexample![0], 'smallest');
  const given = readCase(raw, 'case');
  const file = worldsFile([{ ...raw, expected: expectedOf(given, answerByOracle(given)) }]);
  const { errorInstance, numRuns, numShrinks } = result;
  const cause = errorInstance instanceof Error ? errorInstance.message : String(errorInstance);
  throw new Error(
    `${path.name}: ${cause}  (got / right)\n` +
      `world ${numRuns} of seed ${seed}, made smaller ${numShrinks} times:\n${writeJson(file)}`,
    { cause: errorInstance },
  );
}

async function differenceOf(path: Path, draft: WorldDraft): Promise<string | null> {
  const given = readCase(caseOf(draft, 'world'), 'case');
  return strictVerdict(given, await answerCase(given, path), answerByOracle(given));
}
