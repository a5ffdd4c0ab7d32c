import fc from 'fast-check';
import { expect, test } from 'vitest';
import { answerCase, type Path } from './answer.ts';
import { readCase } from './case-file.ts';
import { writeJson } from './case-values.ts';
import { answerByOracle } from './oracle-answer.ts';
import { kernelPath } from './paths/kernel.ts';
import { aWorld, caseOf, type WorldDraft, worldsFile } from './worlds.ts';
import { expectedOf, strictVerdict } from './world-verdict.ts';

const WORLDS = 10_000;
const SEED = 20_261_121;

test(`${WORLDS} random worlds: the kernel answers as the oracle does`, async () => {
  await checkWorlds(kernelPath(), WORLDS);
}, 120_000);

/** The smallest world that goes wrong is printed as a case. */
async function checkWorlds(path: Path, worlds: number): Promise<void> {
  await fc.assert(
    fc.asyncProperty(aWorld, async (draft) => {
      expect(await differenceOf(path, draft)).toBeNull();
    }),
    {
      numRuns: worlds,
      seed: SEED,
      reporter(result) {
        if (!result.failed) return;
        const [draft] = result.counterexample!;
        const raw = caseOf(draft, 'smallest');
        const given = readCase(raw, 'case');
        const cause =
          result.errorInstance instanceof Error ? result.errorInstance.message : String(result.errorInstance);
        const file = worldsFile([{ ...raw, expected: expectedOf(given, answerByOracle(given)) }]);
        throw new Error(
          `${cause}\nafter ${result.numRuns} worlds, shrunk ${result.numShrinks} times (seed ${result.seed}):\n${writeJson(file)}`,
        );
      },
    },
  );
}

async function differenceOf(path: Path, draft: WorldDraft): Promise<string | null> {
  const given = readCase(caseOf(draft, 'world'), 'case');
  const right = answerByOracle(given);
  return strictVerdict(given, await answerCase(given, path), right);
}
