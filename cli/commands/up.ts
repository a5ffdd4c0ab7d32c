import type { Command } from 'commander';
import { migrate } from '../../db/migrate.ts';
import { loadConfig } from '../../platform/config.ts';
import { startEmbeddedPlatform } from '../../platform/embedded/embedded-platform.ts';
import { createLogger } from '../../platform/logger.ts';
import { fields, type Output, print } from '../output.ts';
import { PRINCIPALS } from '../principals.ts';
import type { CliContext } from '../run-cli.ts';
import { seedCredentials } from '../seed-credentials.ts';
import { type GlobalOptions, homeOf } from '../session.ts';

interface UpOptions extends GlobalOptions {
  readonly fresh?: boolean;
  readonly apiPort?: string;
  readonly inferencePort?: string;
  readonly inferenceProcesses?: string;
  readonly redis?: boolean;
}

export function register(program: Command, { action }: CliContext): void {
  program
    .command('up')
    .description('start PostgreSQL, Temporal, api, worker and inference here, and stay until Ctrl-C')
    .option('--fresh', 'forget what an earlier run left in the home')
    .option('--api-port <port>', 'port of the API; a free one when left out')
    .option('--inference-port <port>', 'port of the inference tier; a free one when left out')
    .option('--inference-processes <n>', 'inference processes behind the one port', '2')
    .option('--redis', 'keep online features in a Redis of its own instead of PostgreSQL')
    .addHelpText('after', '\nExample:\n  serin up --api-port 8080')
    .action(action<UpOptions>(({ output, options }) => up(output, options)));
}

async function up(output: Output, options: UpOptions): Promise<number> {
  const config = loadConfig();
  const platform = await startEmbeddedPlatform({
    home: homeOf(options),
    fresh: options.fresh === true,
    config,
    ports: {
      ...(options.apiPort !== undefined && { api: Number(options.apiPort) }),
      ...(options.inferencePort !== undefined && { inference: Number(options.inferencePort) }),
    },
    inferenceProcesses: Number(options.inferenceProcesses ?? 2),
    redis: options.redis === true,
    logger: createLogger({
      service: 'up',
      node: config.nodeId,
      level: config.given.has('SERIN_LOG_LEVEL') ? config.logLevel : 'warn',
    }),
    onProgress: (line) => output.note(line),
    migrate,
    seedCredentials,
  });
  const { apiUrl, inferenceUrl, temporalUiUrl, home } = platform;
  print(
    output,
    { apiUrl, docsUrl: `${apiUrl}/docs`, inferenceUrl, temporalUiUrl, home, pids: platform.pids() },
    (answer) =>
      fields({
        API: answer.apiUrl,
        'API docs': answer.docsUrl,
        inference: answer.inferenceUrl,
        'Temporal UI': answer.temporalUiUrl,
        home: answer.home,
        principals: PRINCIPALS.map(({ name, role }) => `${name} (${role})`).join(', '),
      }),
  );
  output.note('Ctrl-C stops it.');
  await new Promise<void>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve());
  });
  output.note('stopping');
  await platform.stop();
  return 0;
}
