/** A request that a test sends, byte by byte as it says. */
export interface HostileCase {
  readonly name: string;
  /** Each piece is a write of its own. */
  readonly pieces: readonly (string | Buffer)[];
  readonly status: number;
  /** What the error must say; null: the answer is no error, or comes from Node, which says nothing. */
  readonly rule: string | null;
}

export type Headers = Readonly<Record<string, string>>;

const HOST: Headers = { host: 'localhost' };

/** A whole request in one piece. `headers` may replace what is set here. */
export function httpRequest(method: string, path: string, headers: Headers = {}, body: string | Buffer = ''): Buffer {
  const bytes = typeof body === 'string' ? Buffer.from(body) : body;
  const all = { ...HOST, ...(bytes.length > 0 && { 'content-length': String(bytes.length) }), ...headers };
  const head = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
  return Buffer.concat([Buffer.from(`${method} ${path} HTTP/1.1\r\n${head.join('')}\r\n`, 'latin1'), bytes]);
}

/** The rows of a table as cases: name, body, rule. */
export function bodies(
  path: string,
  rows: readonly (readonly [name: string, body: string | Buffer, rule: string | null])[],
): HostileCase[] {
  return rows.map(([name, body, rule]) => ({
    name,
    pieces: [httpRequest('POST', path, {}, body)],
    status: rule === null ? 200 : 400,
    rule,
  }));
}

export const nested = (depth: number, inner = ''): string => '['.repeat(depth) + inner + ']'.repeat(depth);
