import { Client, credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { expect, test } from 'vitest';
import { GRPC_SERVICE } from './grpc-messages.ts';
import { startGrpcServer } from './grpc-server.ts';
import type { OipDeps } from './routes.ts';

test('an error that nobody threw on purpose is in the log, with the trace of its call', async () => {
  const bug = new TypeError('a bug');
  const isReady = () => {
    throw bug;
  };
  const lines: unknown[] = [];
  const log = { error: (line: unknown) => void lines.push(line) };
  const listener = await startGrpcServer({ isReady } as unknown as OipDeps, '127.0.0.1:0', log);
  const client = new Client(`127.0.0.1:${listener.port}`, credentials.createInsecure());
  const metadata = new Metadata();
  metadata.set('traceparent', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01');
  const { path, requestSerialize, responseDeserialize } = GRPC_SERVICE.ServerReady;
  const error = await new Promise<ServiceError | null>((resolve) => {
    client.makeUnaryRequest(path, requestSerialize, responseDeserialize, {}, metadata, resolve);
  });
  client.close();
  await listener.close();
  expect(error?.code).toBe(status.INTERNAL);
  expect(lines).toEqual([{ err: bug, traceId: '0af7651916cd43dd8448eb211c80319c' }]);
});
