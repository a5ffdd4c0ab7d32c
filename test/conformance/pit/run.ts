/** Cases through paths: answers, verdicts, and what is printed of them. */
import type { Answer, PitCase, UnreadableCase } from './case-types.ts';
import { answerCase, type Path, type PathName } from './answer.ts';
import { verdict } from './judge.ts';

export interface CaseResult {
  readonly id: string;
  readonly name: string;
  readonly topic: string;
  /** Undefined: the path has none. */
  readonly answer?: Answer;
  /** Null: passed. */
  readonly reason: string | null;
}

export interface PathResult {
  readonly path: PathName;
  readonly results: readonly CaseResult[];
}

export async function runPath(path: Path, cases: readonly (PitCase | UnreadableCase)[]): Promise<PathResult> {
  const results: CaseResult[] = [];
  for (const given of cases) results.push(await runCase(path, given));
  return { path: path.name, results };
}

async function runCase(path: Path, given: PitCase | UnreadableCase): Promise<CaseResult> {
  if ('unreadable' in given) {
    return { id: given.id, name: '', topic: '', reason: `the case cannot be read: ${given.unreadable}` };
  }
  const { id, name, topic } = given;
  try {
    const answer = await answerCase(given, path);
    const wrong = verdict(given, answer);
    return { id, name, topic, answer, reason: wrong === null ? null : `${wrong}  (got / right)` };
  } catch (error) {
    return { id, name, topic, reason: `no answer: ${(error as Error).message}` };
  }
}

/** The file that `check.py` judges. */
export function answersOf({ results }: PathResult): Record<string, Answer> {
  return Object.fromEntries(results.flatMap(({ id, answer }) => (answer === undefined ? [] : [[id, answer]])));
}

export function describePath({ path, results }: PathResult): string[] {
  const failed = results.filter(({ reason }) => reason !== null);
  const lines = failed.map(({ id, name, reason }) => `FAIL ${path} ${id} ${name}: ${reason}`);
  const topics = [...new Set(results.map(({ topic }) => topic))].map((topic) => {
    const own = results.filter((result) => result.topic === topic);
    return `${topic} ${own.filter(({ reason }) => reason === null).length}/${own.length}`;
  });
  return [...lines, `${path}: ${results.length - failed.length}/${results.length}  ${topics.join(', ')}`];
}
