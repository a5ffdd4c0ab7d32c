/** The property that every path has: random worlds are answered as the oracle answers them. */
import fc from 'fast-check';
import { answerCase, type Path } from './answer.ts';
import { readCase } from './case-file.ts';
import { writeJson } from './case-values.ts';
import { answerByOracle } from './oracle-answer.ts';
import { expectedOf, strictVerdict } from './world-verdict.ts';
import { smallestWorld } from './smaller-worlds.ts';
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
  const smallest = await smallestWorld(result.counterexample![0], (draft) => fails(path, draft));
  const raw = caseOf(smallest, 'smallest');
  const given = readCase(raw, 'case');
  const file = worldsFile([{ ...raw, expected: expectedOf(given, answerByOracle(given)) }]);
  const cause = await differenceOf(path, smallest).catch((error: Error) => error.message);
  throw new Error(
    `${path.name}: ${cause}  (got / right)\nworld ${result.numRuns} of seed ${seed}, made as small as it goes:\n${writeJson(file)}`,
    { cause: result.errorInstance },
  );
}

function fails(path: Path, draft: WorldDraft): Promise<boolean> {
  return differenceOf(path, draft).then(
    (difference) => difference !== null,
    () => true,
  );
}

async function differenceOf(path: Path, draft: WorldDraft): Promise<string | null> {
  const given = readCase(caseOf(draft, 'world'), 'case');
  return strictVerdict(given, await answerCase(given, path), answerByOracle(given));
}
