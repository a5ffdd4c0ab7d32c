import type { ApiClient, OperationAnswer } from './api-client.ts';
import { EXIT, type ExitCode } from './exit-codes.ts';
import { type Output, print } from './output.ts';

/**
 * Posts what starts a workflow, follows it to its end with a line on stderr, and prints the result. With `wait: false` it
 * prints where to look and ends with 8.
 */
export async function followOperation<R>(
  { api, output, wait }: { readonly api: ApiClient; readonly output: Output; readonly wait: boolean },
  path: string,
  body: object | undefined,
  text: (answer: OperationAnswer<R>) => string,
  exitCode: (answer: OperationAnswer<R>) => ExitCode = () => EXIT.done,
): Promise<ExitCode> {
  if (!wait) {
    const started = await api.post<OperationAnswer<R>>(path, body);
    print(output, started, (answer) =>
      answer.result === undefined ? `${answer.workflowId} is ${answer.status}\n${answer.links.temporal}` : text(answer),
    );
    return started.status === 'running' ? EXIT.running : exitCode(started);
  }
  let said = false;
  const ended = await api.run<R>(path, body, {
    onWaiting: ({ workflowId, links }) => {
      if (!said) output.note(`${workflowId} is running: ${links.temporal}`);
      said = true;
    },
  });
  print(output, ended, text);
  return exitCode(ended);
}
