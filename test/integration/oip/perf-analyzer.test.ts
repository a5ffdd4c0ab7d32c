/** Triton's load generator runs against `serin serve` as against Triton: with its checks, and with statistics from the server. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { identityOnnx, linearOnnx } from '../../../inference/model/onnx-fixture.ts';
import { type ServedModels, serveModels } from './serve-models.ts';
import { type PerfAnalyzer, perfAnalyzer } from './triton-tools.ts';

let tool: PerfAnalyzer | null;
let server: ServedModels;
beforeAll(async () => {
  tool = await perfAnalyzer();
  server = await serveModels(
    {
      m: linearOnnx({ weights: [1, 0.5], bias: 0.25 }),
      text: identityOnnx({ elementTypes: [8], width: 2 }),
    },
    { processes: 2 },
  );
}, 300_000);
afterAll(() => server.close());

const concurrently = ['--concurrency-range', '4', '--request-count', '200'];
const inJson = ['--input-tensor-format', 'json', '--output-tensor-format', 'json'];

test.each([
  ['HTTP, binary, concurrently', 'http', ['-m', 'm', ...concurrently], 200],
  ['HTTP, JSON, concurrently', 'http', ['-m', 'm', ...inJson, ...concurrently], 200],
  [
    'HTTP, JSON, at a rate',
    'http',
    ['-m', 'm', ...inJson, '--request-rate-range', '100', '--request-count', '100'],
    100,
  ],
  ['HTTP, a version and a batch', 'http', ['-m', 'm', '-x', '1', '-b', '16', ...concurrently], 200],
  ['HTTP, a shape', 'http', ['-m', 'm', '--shape', 'features:2', ...concurrently], 200],
  ['HTTP, text', 'http', ['-m', 'text', '--string-data', 'hello', ...concurrently], 200],
  ['HTTP, windows of time', 'http', ['-m', 'm', '-p', '500', '-r', '10', '-s', '999', '--concurrency-range', '2'], 1],
  ['gRPC, concurrently', 'grpc', ['-m', 'm', '-b', '8', ...concurrently], 200],
  ['gRPC, at a rate', 'grpc', ['-m', 'm', '--request-rate-range', '100', '--request-count', '100'], 100],
] as const)(
  'perf_analyzer: %s',
  async (_name, protocol, args, atLeast) => {
    if (tool === null) return;
    const address = `127.0.0.1:${protocol === 'grpc' ? server.grpcPort : server.port}`;
    const report = await tool.run([...args, '-i', protocol, '-u', address]);
    expect(report).not.toMatch(/error|failed/i);
    // it leaves out what is under way at the edges of its measurement, which on a busy machine has been one of 200
    expect(Number(/Request count: (\d+)/.exec(report)?.[1])).toBeGreaterThanOrEqual(atLeast * 0.9);
    expect(Number(/Throughput: ([\d.]+) infer\/sec/.exec(report)?.[1])).toBeGreaterThan(0);
    // of the server's own count; a request at the edge of the measurement may be in one of the two alone
    expect(Number(/Successful request count: (\d+)/.exec(report)?.[1])).toBeGreaterThan(0);
  },
  90_000,
);
