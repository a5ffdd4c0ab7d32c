/** The same request twice: over a socket, where it may be answered before the framework, and through the framework alone. */
import { request as httpRequest } from 'node:http';
import type { FastifyInstance } from 'fastify';

export interface Given {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: Buffer;
}

export type Ask = (path: string, body: Buffer | string, headers?: Record<string, string>) => Promise<Given>;

export function overSocket(port: number): Ask {
  return (path, body, headers = {}) =>
    new Promise((resolve, reject) => {
      const length = { 'content-length': String(Buffer.byteLength(body)) };
      const call = httpRequest({ port, path, method: 'POST', headers: { ...length, ...headers } }, (response) => {
        const pieces: Buffer[] = [];
        response.on('data', (piece: Buffer) => pieces.push(piece));
        response.on('end', () =>
          resolve({ status: response.statusCode!, headers: response.headers, body: Buffer.concat(pieces) }),
        );
      });
      call.on('error', reject).end(body);
    });
}

/** Injected requests do not come over the server's socket. */
export function throughFramework(app: FastifyInstance): Ask {
  return async (url, payload, headers = {}) => {
    const { statusCode, headers: given, rawPayload } = await app.inject({ method: 'POST', url, payload, headers });
    return { status: statusCode, headers: given, body: rawPayload };
  };
}

/** What two answers to the same request have in common; of a request id that the client did not give, that there is one. */
export function comparable({ status, headers, body }: Given, asked: Readonly<Record<string, string>>) {
  const { date: _date, 'x-request-id': id, 'keep-alive': _alive, connection: _connection, ...others } = headers;
  return {
    status,
    headers: { ...others, id: asked['x-request-id'] ? id : typeof id },
    body: body.toString('latin1'),
  };
}
