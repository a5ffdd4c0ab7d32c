import type { Credentials } from '../../../platform/embedded/credentials.ts';

/** Who does what in the demo: one token per role, as a team has them. */
export type Person = keyof Credentials;

/** An answer that is a problem: `code` is of the error table. */
export class ProblemAnswer extends Error {
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string, detail: string) {
    super(detail);
    this.name = 'ProblemAnswer';
    this.status = status;
    this.code = code;
  }
}

/** The control plane's API over HTTP: what any client of it would write. */
export class PlatformClient {
  readonly #url: string;
  readonly #credentials: Credentials;

  constructor(url: string, credentials: Credentials) {
    this.#url = url;
    this.#credentials = credentials;
  }

  get<T>(as: Person, path: string): Promise<T> {
    return this.#send<T>(as, 'GET', path);
  }

  post<T>(as: Person, path: string, body: object = {}): Promise<T> {
    return this.#send<T>(as, 'POST', path, body);
  }

  put<T>(as: Person, path: string, body: object = {}): Promise<T> {
    return this.#send<T>(as, 'PUT', path, body);
  }

  async #send<T>(as: Person, method: string, path: string, body?: object): Promise<T> {
    const response = await fetch(`${this.#url}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${this.#credentials[as]}`,
        ...(body !== undefined && { 'content-type': 'application/json' }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (!response.ok) {
      const problem = JSON.parse(text || '{}') as { code?: string; detail?: string; title?: string };
      throw new ProblemAnswer(
        response.status,
        problem.code ?? 'UNKNOWN',
        problem.detail ?? problem.title ?? `${method} ${path} answered ${response.status}`,
      );
    }
    return JSON.parse(text) as T;
  }
}
