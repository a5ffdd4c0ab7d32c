/**
 * What the processes behind one port do together: statistics are the sum over all, and a model is loaded or unloaded in
 * all. The primary passes messages on; a process that serves alone talks to itself.
 */
import cluster, { type Worker } from 'node:cluster';
import { type ErrorCode, messageOf, SerinError } from '../../domain/errors.ts';
import { mergeStatistics, type ModelStatisticsReport } from '../oip/statistics.ts';

export type ModelAction = 'load' | 'unload';

export interface GroupMember {
  statistics(): ModelStatisticsReport[];
  manage(action: ModelAction, model: string): Promise<void>;
}

export interface ProcessGroup {
  statistics(): Promise<ModelStatisticsReport[]>;
  /** @throws the first process's error, when any has one */
  manage(action: ModelAction, model: string): Promise<void>;
  close(): void;
}

type Task = { readonly kind: 'statistics' } | { readonly kind: ModelAction; readonly model: string };

/** Said once by a process that answers from now on; what is sent to it before, nobody hears. */
interface Join {
  readonly type: 'serin.group.join';
}
interface Ask {
  readonly type: 'serin.group.ask';
  readonly id: string;
  readonly task: Task;
}
interface Answer {
  readonly type: 'serin.group.answer';
  readonly id: string;
  readonly statistics: readonly ModelStatisticsReport[];
  readonly failure: { readonly code: ErrorCode | null; readonly message: string } | null;
}

const ANSWER_WITHIN_MS = 60_000;

/** In a worker of the cluster, or alone. */
export function processGroup(member: GroupMember): ProcessGroup {
  if (!cluster.isWorker) {
    return {
      statistics: () => Promise.resolve(member.statistics()),
      manage: (action, model) => member.manage(action, model),
      close: () => undefined,
    };
  }
  let asked = 0;
  const waiting = new Map<string, (answer: Answer) => void>();
  const listener = (message: unknown): void => {
    if (isAsk(message)) void carryOut(member, message).then((answer) => process.send?.(answer));
    else if (isAnswer(message)) waiting.get(message.id)?.(message);
  };
  process.on('message', listener);
  process.send?.({ type: 'serin.group.join' } satisfies Join);
  const ask = (task: Task): Promise<Answer> => {
    const id = `${process.pid}-${++asked}`;
    return new Promise<Answer>((resolve, reject) => {
      const timer = setTimeout(() => {
        waiting.delete(id);
        reject(new SerinError('MODEL_NOT_READY', 'the other serving processes did not answer in time'));
      }, ANSWER_WITHIN_MS);
      waiting.set(id, (answer) => {
        clearTimeout(timer);
        waiting.delete(id);
        resolve(answer);
      });
      process.send?.({ type: 'serin.group.ask', id, task } satisfies Ask);
    });
  };
  return {
    statistics: async () => [...(await ask({ kind: 'statistics' })).statistics],
    async manage(action, model) {
      const { failure } = await ask({ kind: action, model });
      if (failure) throw new SerinError(failure.code ?? 'MODEL_FILE_INVALID', failure.message);
    },
    close: () => process.off('message', listener),
  };
}

async function carryOut(member: GroupMember, { id, task }: Ask): Promise<Answer> {
  const answer = { type: 'serin.group.answer', id, statistics: [], failure: null } as const;
  try {
    if (task.kind === 'statistics') return { ...answer, statistics: member.statistics() };
    await member.manage(task.kind, task.model);
    return answer;
  } catch (error) {
    const code = error instanceof SerinError ? error.code : null;
    return { ...answer, failure: { code, message: messageOf(error) } };
  }
}

/** In the primary: passes each question to every process that has joined and the answers, as one, back to who asked. */
export function relayBetween(workers: () => readonly Worker[]): (from: Worker, message: unknown) => void {
  const open = new Map<string, { readonly asker: Worker; readonly missing: Set<Worker>; readonly answers: Answer[] }>();
  const joined = new WeakSet<Worker>();
  const settle = (id: string): void => {
    const question = open.get(id);
    if (question === undefined) return;
    for (const worker of question.missing)
      if (worker.isDead() || !worker.isConnected()) question.missing.delete(worker);
    if (question.missing.size > 0) return;
    open.delete(id);
    if (!question.asker.isConnected()) return;
    question.asker.send({
      type: 'serin.group.answer',
      id,
      statistics: mergeStatistics(question.answers.flatMap(({ statistics }) => statistics)),
      failure: question.answers.find(({ failure }) => failure !== null)?.failure ?? null,
    } satisfies Answer);
  };
  cluster.on('exit', (worker) => {
    for (const [id, question] of open) {
      question.missing.delete(worker);
      settle(id);
    }
  });
  return (from, message) => {
    if (isJoin(message)) {
      joined.add(from);
    } else if (isAsk(message)) {
      const asked = workers().filter((worker) => worker.isConnected() && joined.has(worker));
      open.set(message.id, { asker: from, missing: new Set(asked), answers: [] });
      // who asked has given up by then; what a process that hangs never answers must not pile up here
      setTimeout(() => open.delete(message.id), ANSWER_WITHIN_MS).unref();
      for (const worker of asked) worker.send(message);
      settle(message.id);
    } else if (isAnswer(message)) {
      const question = open.get(message.id);
      if (question === undefined) return;
      question.missing.delete(from);
      question.answers.push(message);
      settle(message.id);
    }
  };
}

function isJoin(message: unknown): message is Join {
  return (message as { type?: unknown } | null)?.type === 'serin.group.join';
}

function isAsk(message: unknown): message is Ask {
  return (message as { type?: unknown } | null)?.type === 'serin.group.ask';
}

function isAnswer(message: unknown): message is Answer {
  return (message as { type?: unknown } | null)?.type === 'serin.group.answer';
}
