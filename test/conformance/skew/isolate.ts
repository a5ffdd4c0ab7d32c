import type { Found } from './find-fault.ts';
import type { Fault } from './faults.ts';
import type { Servers } from './servers.ts';
import { showAnswer } from './read-log.ts';

export async function explainMismatch({ report, mismatch }: Found, _servers: Servers, _fault?: Fault): Promise<string> {
  const { record, view, output } = mismatch;
  return `${report.project.views[view]!.name} ${output} ${showAnswer(record.answers[view]!, output)} vs ${showAnswer(mismatch.offline, output)} ${mismatch.judge} ${JSON.stringify(record.read)} ${record.readAt} ${record.knownSeq.join()}`;
}
