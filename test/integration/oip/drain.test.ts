/** Clients of every kind ask without pause while a server of two processes is told to stop: nobody gets an error for an answer. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { type Client, credentials, makeGenericClientConstructor, type ServiceError, status } from '@grpc/grpc-js';
import { Pool } from 'undici';
import { expect, test } from 'vitest';
import { linearOnnx } from '../../../inference/model/onnx-fixture.ts';
import { GRPC_SERVICE, type Message } from '../../../inference/oip/grpc-messages.ts';
import { serveModels, type ServedModels } from './serve-models.ts';

const INFER = '/v2/models/m/infer';
const CLIENTS = 4;

interface Outcome {
  answered: number;
  readonly failed: string[];
}

const serve = (processes = 2): Promise<ServedModels> =>
  serveModels({ m: linearOnnx({ weights: [1, 0.5], bias: 0.25 }) }, { processes });

function bodyOf(x: number): string {
  return JSON.stringify({ inputs: [{ name: 'features', datatype: 'FP32', shape: [1, 2], data: [x, 0] }] });
}

function check(outcome: Outcome, x: number, answer: string): void {
  const { outputs } = JSON.parse(answer) as { outputs: [{ data: [number] }] };
  if (outputs[0].data[0] === x + 0.25) outcome.answered++;
  else outcome.failed.push(`${x} was answered by ${answer}`);
}

/** Starts `client` several times over, stops the server when all have been answered, and waits for them to be sent away. */
async function stoppedUnder(client: (server: ServedModels, outcome: Outcome) => Promise<void>): Promise<Outcome> {
  const server = await serve();
  const outcome: Outcome = { answered: 0, failed: [] };
  const clients = Array.from({ length: CLIENTS }, () => client(server, outcome));
  await expect.poll(() => outcome.answered > 200 || outcome.failed.length > 0, { timeout: 60_000 }).toBe(true);
  await server.close();
  await Promise.all(clients);
  return outcome;
}

test('connections that are kept', async () => {
  const { failed } = await stoppedUnder(async ({ url }, outcome) => {
    const pool = new Pool(url, { connections: 1, pipelining: 1 });
    for (let x = 0; ; x++) {
      try {
        const { statusCode, body } = await pool.request({ method: 'POST', path: INFER, body: bodyOf(x) });
        const text = await body.text();
        if (statusCode === 200) check(outcome, x, text);
        else outcome.failed.push(`${statusCode} ${text}`);
      } catch (error) {
        // nobody listens any more: the request was never sent
        if ((error as { code?: string }).code !== 'ECONNREFUSED') outcome.failed.push(String(error));
        break;
      }
    }
    await pool.close();
  });
  expect(failed).toEqual([]);
});

test('connections that are kept and pipelined: all of a burst is answered before the connection goes', async () => {
  const { failed } = await stoppedUnder(async ({ port }, outcome) => {
    const socket = connect(port, '127.0.0.1');
    let asked: number[] = [];
    let sent = 0;
    const burst = (): void => {
      asked = Array.from({ length: 4 }, () => sent++);
      const bodies = asked.map(bodyOf);
      socket.write(
        bodies
          .map((body) => `POST ${INFER} HTTP/1.1\r\nhost: x\r\ncontent-length: ${body.length}\r\n\r\n${body}`)
          .join(''),
      );
    };
    let text = '';
    socket.on('data', (piece: Buffer) => {
      text += piece.toString('latin1');
      const answers = text.split(/HTTP\/1\.1 /).slice(1);
      if (answers.length < asked.length || !text.endsWith(']}]}')) return;
      answers.forEach((answer, i) => {
        if (answer.startsWith('200')) check(outcome, asked[i]!, answer.slice(answer.indexOf('{')));
        else outcome.failed.push(answer);
      });
      text = '';
      asked = [];
      if (!/connection: close/i.test(answers.at(-1)!)) burst();
    });
    socket.on('error', (error) => outcome.failed.push(String(error)));
    burst();
    await new Promise((resolve) => socket.once('close', resolve));
    if (asked.length > 0) outcome.failed.push(`closed with ${asked.length} requests open: ${text}`);
  });
  expect(failed).toEqual([]);
});

test('a request that is still on its way when all others have been sent away is waited for', async () => {
  const server = await serve(1);
  const ask = (body: string): string => `POST ${INFER} HTTP/1.1\r\nhost: x\r\ncontent-length: ${body.length}\r\n\r\n`;
  const [slow, other] = [connect(server.port, '127.0.0.1'), connect(server.port, '127.0.0.1')];
  const body = bodyOf(7);
  slow.write(ask(body) + body.slice(0, 20));
  let heard = '';
  other.on('data', (piece: Buffer) => {
    heard += piece.toString('latin1');
    if (heard.endsWith(']}]}') && !/connection: close/i.test(heard)) {
      heard = '';
      other.write(ask(body) + body);
    }
  });
  other.write(ask(body) + body);
  await once(other, 'data');
  const closed = server.close();
  await once(other, 'close');
  expect(heard).toMatch(/^HTTP\/1\.1 200 [^]*connection: close/i);
  slow.write(body.slice(20));
  const text = Buffer.concat((await slow.toArray()) as Buffer[]).toString('latin1');
  expect(text).toMatch(/^HTTP\/1\.1 200 [^]*connection: close[^]*"data":\[7\.25\]/i);
  await closed;
});

test('calls over gRPC', async () => {
  const { failed } = await stoppedUnder(async ({ grpcPort }, outcome) => {
    const client = new (makeGenericClientConstructor(GRPC_SERVICE, 'inference'))(
      `127.0.0.1:${grpcPort}`,
      credentials.createInsecure(),
      { 'grpc.use_local_subchannel_pool': 1 },
    );
    // the server says that it serves when HTTP does
    await new Promise<void>((resolve, reject) =>
      client.waitForReady(Date.now() + 60_000, (error) => (error ? reject(error) : resolve())),
    );
    for (let x = 0; ; x++) {
      try {
        const { raw_output_contents: raw } = await inferOverGrpc(client, x);
        const bytes = Buffer.from((raw as readonly Uint8Array[])[0]!);
        if (bytes.readFloatLE(0) === x + 0.25) outcome.answered++;
        else outcome.failed.push(`${x} was answered by ${bytes.readFloatLE(0)}`);
      } catch (error) {
        const { code, details } = error as ServiceError;
        // no connection could be made: the call was never sent
        if (code !== status.UNAVAILABLE || !/No connection established|ECONNREFUSED/.test(details))
          outcome.failed.push(`${x}: ${code} ${details}`);
        break;
      }
    }
    client.close();
  });
  expect(failed).toEqual([]);
});

function inferOverGrpc(client: Client, x: number): Promise<Message> {
  const features = Buffer.from(Float32Array.of(x, 0).buffer);
  const request = {
    model_name: 'm',
    inputs: [{ name: 'features', datatype: 'FP32', shape: [1, 2] }],
    raw_input_contents: [features],
  };
  const { path, requestSerialize, responseDeserialize } = GRPC_SERVICE['ModelInfer']!;
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest<Message, Message>(path, requestSerialize, responseDeserialize, request, (error, answer) =>
      error ? reject(error) : resolve(answer!),
    );
  });
}
