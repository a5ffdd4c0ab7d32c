import { CancellationScope, setCurrentDetails } from '@temporalio/workflow';
import type { ScoredPart } from '../domain/scoring/score-plan.ts';
import { control, data } from './activity-proxies.ts';
import type { ScoreBatchInput, ScoreBatchResult } from './messages.ts';
import { tagModel } from './search-attributes.ts';

/**
 * Scores a batch: the version, the knowledge and the rows are fixed once, the parts are scored side by side, and what they
 * give takes its place in the output folder when all are there. A worker that dies costs the part it was at.
 */
export async function scoreBatch(input: ScoreBatchInput): Promise<ScoreBatchResult> {
  const { request } = input;
  tagModel(request.model, request.version);
  const { version, sources, done } = await control.openScoreBatch(input);
  if (done !== null) return done;
  try {
    // the log is read: what was pushed so far goes into it first
    for (const { source, lastSeq: upToSeq } of sources) {
      if (upToSeq === 0) continue;
      const pushed = { kind: 'pushed', upToSeq } as const;
      await data.ingestBatch.executeWithOptions({ summary: `${source} ← pushed` }, [
        { source, batchId: `pushed-${upToSeq}`, input: pushed },
      ]);
    }
    const { plan, parts, rows, together } = await data.planScoreBatch({ ...input, version });
    const scored = await scoreParts(plan, parts, together, (ended) =>
      setCurrentDetails(`**${request.model} v${version}**: ${ended} of ${parts} parts of ${rows} rows are scored`),
    );
    const result = await data.commitScoreBatch({ plan, parts: scored });
    tagModel(request.model, version);
    setCurrentDetails(`**${request.model} v${version}** has scored ${rows} rows into \`${request.output}\``);
    return result;
  } catch (error) {
    await CancellationScope.nonCancellable(() => data.discardScoreBatch(input));
    throw error;
  }
}

/** The first part that fails for good ends the others. */
async function scoreParts(
  plan: string,
  parts: number,
  together: number,
  say: (ended: number) => void,
): Promise<ScoredPart[]> {
  const scored: ScoredPart[] = [];
  let next = 0;
  let ended = 0;
  say(ended);
  await CancellationScope.cancellable(async () => {
    const scope = CancellationScope.current();
    const work = async (): Promise<void> => {
      while (next < parts) {
        const part = next++;
        scored[part] = await data.scorePart.executeWithOptions({ summary: `part ${part + 1} of ${parts}` }, [
          { plan, part },
        ]);
        say(++ended);
      }
    };
    const workers = Array.from({ length: Math.min(together, parts) }, work);
    try {
      await Promise.all(workers);
    } catch (error) {
      scope.cancel();
      await Promise.allSettled(workers);
      throw error;
    }
  });
  return scored;
}
