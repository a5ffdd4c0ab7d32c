import type { Operation } from '../api/workflow-client.ts';
import { isErrorCode, SerinError } from '../domain/errors.ts';

type Method = 'GET' | 'POST' | 'PUT' | 'DELETE';
type Query = Readonly<Record<string, string | number | boolean | undefined>>;

export interface RequestOptions {
  readonly query?: Query;
  readonly body?: object;
  readonly idempotencyKey?: string;
  readonly signal?: AbortSignal;
}

/** A workflow as the API shows it; `result` is what it returned. */
export interface OperationAnswer<R = unknown> {
  readonly workflowId: string;
  readonly status: Operation['status'];
  readonly type?: string;
  readonly runId?: string;
  readonly result?: R;
  readonly problem?: {
    readonly code: string;
    readonly title: string;
    readonly status: number;
    readonly detail: string;
  };
  readonly links: { readonly temporal: string; readonly self: string };
}

export interface ApiClient {
  readonly url: string;
  get<T>(path: string, options?: RequestOptions): Promise<T>;
  post<T>(path: string, body?: object, options?: Omit<RequestOptions, 'body'>): Promise<T>;
  put<T>(path: string, body?: object, options?: Omit<RequestOptions, 'body'>): Promise<T>;
  delete<T>(path: string, options?: RequestOptions): Promise<T>;
  /**
   * Posts what starts a workflow and follows it to its end, over as many long polls as it takes.
   * @throws SerinError with the code it ended with
   */
  run<R>(path: string, body?: object, options?: FollowOptions): Promise<OperationAnswer<R>>;
  /** Follows a workflow that was started before. */
  follow<R>(workflowId: string, options?: FollowOptions): Promise<OperationAnswer<R>>;
}

export interface FollowOptions {
  readonly idempotencyKey?: string;
  readonly signal?: AbortSignal;
  /** Called each time the workflow turns out to be still running. */
  readonly onWaiting?: (answer: OperationAnswer) => void;
}

/** Temporary trouble (a restarting server) is tried again this often, with pauses that double. */
const RETRIES = 5;
const FIRST_PAUSE_MS = 200;

/**
 * The control plane over HTTP. Answers that are problems are thrown as SerinErrors with their code, detail and fields;
 * those that pass by themselves are waited for where the request can be repeated.
 */
export function createApiClient({ url, token }: { readonly url: string; readonly token: string }): ApiClient {
  async function request<T>(
    method: Method,
    path: string,
    { query, body, idempotencyKey, signal }: RequestOptions = {},
  ): Promise<T> {
    const target = new URL(path, url.endsWith('/') ? url : `${url}/`);
    for (const [name, value] of Object.entries(query ?? {})) {
      if (value !== undefined) target.searchParams.set(name, String(value));
    }
    const init: RequestInit = {
      method,
      headers: {
        authorization: `Bearer ${token}`,
        ...(body !== undefined && { 'content-type': 'application/json' }),
        ...(idempotencyKey !== undefined && { 'idempotency-key': idempotencyKey }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
      ...(signal !== undefined && { signal }),
    };
    const repeatable = method !== 'POST' || idempotencyKey !== undefined;
    for (let attempt = 0; ; attempt++) {
      try {
        const response = await fetch(target, init);
        if (response.ok) return (await response.json()) as T;
        throw await errorOf(response, target);
      } catch (error) {
        const failure = signal?.aborted === true ? error : asUnreachable(error, url);
        if (!repeatable || attempt >= RETRIES || !(failure instanceof SerinError) || !failure.retryable) throw failure;
        await pause(FIRST_PAUSE_MS * 2 ** attempt, signal);
      }
    }
  }

  async function follow<R>(
    started: OperationAnswer<R>,
    { signal, onWaiting }: FollowOptions,
  ): Promise<OperationAnswer<R>> {
    let answer = started;
    while (answer.status === 'running') {
      onWaiting?.(answer);
      answer = await request<OperationAnswer<R>>('GET', `v1/operations/${encodeURIComponent(answer.workflowId)}`, {
        query: { wait: true },
        ...(signal !== undefined && { signal }),
      });
    }
    if (answer.problem !== undefined) {
      const { code, detail } = answer.problem;
      throw new SerinError(isErrorCode(code) ? code : 'WORKFLOW_FAILED', detail, {
        fields: { ...answer.problem, workflowId: answer.workflowId },
      });
    }
    return answer;
  }

  return {
    url,
    get: (path, options) => request('GET', `v1/${path}`, options),
    post: (path, body, options) => request('POST', `v1/${path}`, { ...options, ...(body !== undefined && { body }) }),
    put: (path, body, options) => request('PUT', `v1/${path}`, { ...options, ...(body !== undefined && { body }) }),
    delete: (path, options) => request('DELETE', `v1/${path}`, options),
    async run<R>(path: string, body?: object, options: FollowOptions = {}) {
      const { idempotencyKey, signal } = options;
      const started = await request<OperationAnswer<R>>('POST', `v1/${path}`, {
        ...(body !== undefined && { body }),
        ...(idempotencyKey !== undefined && { idempotencyKey }),
        ...(signal !== undefined && { signal }),
      });
      return follow(started, options);
    },
    async follow<R>(workflowId: string, options: FollowOptions = {}) {
      const answer = await request<OperationAnswer<R>>('GET', `v1/operations/${encodeURIComponent(workflowId)}`);
      return follow(answer, options);
    },
  };
}

async function errorOf(response: Response, target: URL): Promise<SerinError> {
  const text = await response.text();
  const problem = readProblem(text);
  if (problem !== undefined) return problem;
  const what = `${target.href} answered ${response.status} with something that is no Serin problem: ${text.slice(0, 200)}`;
  return new SerinError(response.status >= 500 ? 'API_UNREACHABLE' : 'INPUT_INVALID', what);
}

/** The error that a problem+json text stands for; a code that this client does not know yet is kept in the fields. */
export function readProblem(text: string): SerinError | undefined {
  let problem: Readonly<Record<string, unknown>>;
  try {
    problem = JSON.parse(text) as Readonly<Record<string, unknown>>;
  } catch {
    return undefined;
  }
  const { code, detail, type: _type, title: _title, status, instance: _instance, ...fields } = problem;
  if (typeof code !== 'string' || typeof detail !== 'string' || typeof status !== 'number') return undefined;
  const known = isErrorCode(code)
    ? code
    : status === 401
      ? 'UNAUTHENTICATED'
      : status === 403
        ? 'FORBIDDEN'
        : 'WORKFLOW_FAILED';
  return new SerinError(known, detail, { fields: known === code ? fields : { ...fields, code } });
}

function asUnreachable(error: unknown, url: string): unknown {
  if (!(error instanceof TypeError)) return error;
  const { code, message } = (error.cause ?? error) as { code?: string; message: string };
  return new SerinError('API_UNREACHABLE', `nothing answers at ${url} (${code ?? message}); start it with: serin up`, {
    cause: error,
  });
}

function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener('abort', () => {
      clearTimeout(timer);
      reject(signal.reason as Error);
    });
  });
}
