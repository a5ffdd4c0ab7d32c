import { fork } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import { SerinError } from '../../domain/errors.ts';
import { inheritedEnvironment, loadConfig } from '../../platform/config.ts';
import { type Output, print } from '../output.ts';
import type { CliContext } from '../run-cli.ts';
import type { GlobalOptions } from '../session.ts';

interface ServeOptions extends GlobalOptions {
  readonly host: string;
  readonly port: string;
  readonly processes: string;
  readonly grpcPort?: string;
  readonly deadlineMs?: string;
}

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;
const INFERENCE = fileURLToPath(new URL('../../inference/main.js', import.meta.url));

export function register(program: Command, { action }: CliContext): void {
  program
    .command('serve')
    .description('serve plain ONNX files over the Open Inference Protocol: no database, no control plane')
    .argument('<name=file.onnx...>', 'the models, by the name that clients ask for')
    .option('--host <address>', 'address to listen on', '127.0.0.1')
    .option('--port <port>', 'port to listen on; 0 takes a free one', '8090')
    .option('--grpc-port <port>', 'port for the protocol over gRPC; none when left out')
    .option('--processes <n>', 'serving processes behind the one port, about one a core', '1')
    .option(
      '--deadline-ms <ms>',
      'refuse at once what cannot be answered within this; requests may ask for less (x-serin-deadline-ms)',
    )
    .addHelpText(
      'after',
      [
        '',
        'Example:',
        '  serin serve delay=model.onnx',
        '  curl localhost:8090/v2/models/delay',
        '',
        'SERIN_OPERATOR_TOKEN: when set, loading and unloading needs it as a bearer token.',
      ].join('\n'),
    )
    .action(action<ServeOptions>(({ output, options, args }) => serve(output, options, args)));
}

async function serve(output: Output, options: ServeOptions, args: readonly string[]): Promise<number> {
  const models = args.map(readModel);
  const names = models.map(({ name }) => name);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) throw invalid(twice, 'a model name is given once');
  const config = loadConfig();
  const child = fork(
    INFERENCE,
    models.flatMap(({ name, path }) => ['--model', `${name}=${path}`]),
    {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      env: {
        ...inheritedEnvironment(),
        SERIN_INFERENCE_HOST: options.host,
        SERIN_INFERENCE_PORT: String(whole(options.port, '--port', 0, 65_535)),
        SERIN_INFERENCE_PROCESSES: String(whole(options.processes, '--processes', 1, 256)),
        ...(options.grpcPort !== undefined && {
          SERIN_INFERENCE_GRPC_PORT: String(whole(options.grpcPort, '--grpc-port', 1, 65_535)),
        }),
        ...(options.deadlineMs !== undefined && {
          SERIN_INFERENCE_DEADLINE_MS: String(whole(options.deadlineMs, '--deadline-ms', 1, 60_000)),
        }),
        ...(!config.given.has('SERIN_METRICS_PORT') && { SERIN_METRICS_PORT: '0' }),
        ...(!config.given.has('SERIN_LOG_LEVEL') && { SERIN_LOG_LEVEL: 'warn' }),
      },
    },
  );
  child.on('message', (message: { type?: string; url?: string; metricsUrl?: string }) => {
    if (message.type !== 'listening' || message.url === undefined) return;
    print(output, { url: message.url, metricsUrl: message.metricsUrl, models: names }, ({ url, metricsUrl }) =>
      [
        `serving ${names.join(', ')} at ${url}/v2`,
        ...names.map((name) => `  POST ${url}/v2/models/${name}/infer`),
        ...(options.grpcPort === undefined ? [] : [`  gRPC    ${options.host}:${options.grpcPort}`]),
        `  docs    ${url}/docs`,
        `  metrics ${metricsUrl}/metrics    Ctrl-C ends it`,
      ].join('\n'),
    );
  });
  const pass = (signal: NodeJS.Signals): void => void child.kill(signal);
  process.on('SIGINT', () => pass('SIGTERM'));
  process.on('SIGTERM', () => pass('SIGTERM'));
  return new Promise((resolve) => child.once('exit', (code) => resolve(code ?? 1)));
}

function readModel(text: string): { name: string; path: string } {
  const at = text.indexOf('=');
  const [name, path] = [text.slice(0, at), text.slice(at + 1)];
  if (at < 1 || path === '') throw invalid(text, 'expected NAME=FILE.onnx');
  if (!NAME.test(name)) throw invalid(name, 'a model name has letters, digits, ".", "_" and "-"');
  if (!existsSync(path)) throw invalid(path, 'there is no such file');
  return { name, path };
}

function whole(text: string, option: string, min: number, max: number): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= min && value <= max) return value;
  throw new SerinError('CONFIG_INVALID', `${option} is "${text}", expected a whole number from ${min} to ${max}`, {
    fields: { option, value: text },
  });
}

function invalid(value: string, rule: string): SerinError {
  return new SerinError('CONFIG_INVALID', `the model "${value}" cannot be served: ${rule}`, {
    fields: { value, rule },
  });
}
