/** HTTP by hand over a socket: for requests that no client library would send. */
import { connect, type Socket } from 'node:net';

export interface RawResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

export interface Exchange {
  /** In the order they came; without the informational ones. */
  readonly responses: readonly RawResponse[];
  /** Statuses of informational responses (100 Continue). */
  readonly informational: readonly number[];
  /** Whether the server closed the connection before all awaited responses were there. */
  readonly closed: boolean;
}

export interface ExchangeOptions {
  readonly responses?: number;
  /** @throws when the server has neither answered nor closed by then: it hangs */
  readonly deadlineMs?: number;
  /** Between the pieces. */
  readonly pauseMs?: number;
}

/** Sends the pieces one by one and waits for the responses or the end of the connection. */
export async function exchange(
  port: number,
  pieces: readonly (string | Buffer)[],
  { responses = 1, deadlineMs = 15_000, pauseMs = 0 }: ExchangeOptions = {},
): Promise<Exchange> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  let received = Buffer.alloc(0);
  let closed = false;
  const wake = { up: () => {} };
  socket.on('data', (bytes) => {
    received = Buffer.concat([received, bytes]);
    wake.up();
  });
  for (const event of ['close', 'end'] as const) {
    socket.on(event, () => {
      closed = true;
      wake.up();
    });
  }
  // a reset is an end like any other; `close` follows
  socket.on('error', () => undefined);
  const timer = setTimeout(() => socket.destroy(), deadlineMs);
  const startedMs = performance.now();
  try {
    const sending = send(socket, pieces, pauseMs);
    for (;;) {
      const parsed = parse(received, closed);
      if (parsed.responses.length >= responses || closed) {
        if (performance.now() - startedMs >= deadlineMs) throw new Error(`no answer within ${deadlineMs} ms`);
        await sending;
        return { ...parsed, closed: parsed.responses.length < responses };
      }
      await new Promise<void>((resolve) => (wake.up = resolve));
    }
  } finally {
    clearTimeout(timer);
    socket.destroy();
  }
}

async function send(socket: Socket, pieces: readonly (string | Buffer)[], pauseMs: number): Promise<void> {
  const gone = new Promise<void>((resolve) => socket.once('close', () => resolve()));
  for (const [i, piece] of pieces.entries()) {
    if (i > 0 && pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs));
    if (!socket.writable) return;
    if (socket.write(typeof piece === 'string' ? Buffer.from(piece, 'latin1') : piece)) continue;
    await Promise.race([gone, new Promise<void>((resolve) => socket.once('drain', resolve))]);
  }
}

function parse(bytes: Buffer, closed: boolean): Pick<Exchange, 'responses' | 'informational'> {
  const responses: RawResponse[] = [];
  const informational: number[] = [];
  let rest = bytes;
  for (;;) {
    const end = rest.indexOf('\r\n\r\n');
    if (end < 0) break;
    const [first, ...lines] = rest.subarray(0, end).toString('latin1').split('\r\n');
    const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(first!)?.[1]);
    if (!Number.isInteger(status)) throw new Error(`no HTTP response: ${first}`);
    const headers = Object.fromEntries(
      lines.map((line) => {
        const at = line.indexOf(':');
        return [line.slice(0, at).toLowerCase(), line.slice(at + 1).trim()];
      }),
    );
    rest = rest.subarray(end + 4);
    if (status < 200) {
      informational.push(status);
      continue;
    }
    const taken = bodyOf(rest, headers, closed);
    if (taken === null) break;
    responses.push({ status, headers, body: taken.body });
    rest = taken.rest;
  }
  return { responses, informational };
}

function bodyOf(
  bytes: Buffer,
  headers: Readonly<Record<string, string>>,
  closed: boolean,
): { readonly body: Buffer; readonly rest: Buffer } | null {
  const length = headers['content-length'];
  if (length !== undefined) {
    const size = Number(length);
    return bytes.length < size ? null : { body: bytes.subarray(0, size), rest: bytes.subarray(size) };
  }
  if (headers['transfer-encoding'] === 'chunked') {
    const parts: Buffer[] = [];
    let rest = bytes;
    for (;;) {
      const at = rest.indexOf('\r\n');
      if (at < 0) return null;
      const size = Number.parseInt(rest.subarray(0, at).toString(), 16);
      if (rest.length < at + 2 + size + 2) return null;
      if (size === 0) return { body: Buffer.concat(parts), rest: rest.subarray(at + 4) };
      parts.push(rest.subarray(at + 2, at + 2 + size));
      rest = rest.subarray(at + 2 + size + 2);
    }
  }
  return closed ? { body: bytes, rest: Buffer.alloc(0) } : null;
}
