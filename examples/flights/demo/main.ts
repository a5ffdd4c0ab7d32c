import { once } from 'node:events';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { seedCredentials } from '../../../cli/seed-credentials.ts';
import { migrate } from '../../../db/migrate.ts';
import { SerinError } from '../../../domain/errors.ts';
import { loadConfig } from '../../../platform/config.ts';
import { startEmbeddedPlatform } from '../../../platform/embedded/embedded-platform.ts';
import { createLogger } from '../../../platform/logger.ts';
import { Progress } from './progress.ts';
import { Story } from './story.ts';
import { printSummary } from './summary.ts';

const USAGE = `npm run demo -- [--sample SHARE] [--exit]

  The whole life of a model on three million real flights: events in, models delivered, a bad one rolled back.

  --sample SHARE   a share of the flights, 0.02 to 1 (default 1: all of them)
  --exit           end when done; 0 only if every step came out as described (the default without a terminal)
  --keep           stay until Ctrl-C, also without a terminal
`;

const { values } = parseArgs({
  options: {
    sample: { type: 'string', default: '1' },
    exit: { type: 'boolean' },
    keep: { type: 'boolean' },
    help: { type: 'boolean', short: 'h' },
  },
});
const sample = Number(values.sample);
if (values.help === true) {
  process.stdout.write(USAGE);
} else if (!(sample >= 0.02 && sample <= 1)) {
  process.stderr.write(`--sample is ${values.sample}; it must be a share from 0.02 to 1\n${USAGE}`);
  process.exitCode = 2;
} else {
  process.exitCode = await run();
}

async function run(): Promise<number> {
  const config = loadConfig();
  const home = join(config.home, 'demo');
  const progress = new Progress();
  const logger = createLogger({ service: 'demo', node: 'demo', level: 'warn', file: join(home, 'demo.log') });
  progress.step('Start the platform');
  const platform = await startEmbeddedPlatform({
    home,
    fresh: true,
    config: { ...config, logLevel: config.given.has('SERIN_LOG_LEVEL') ? config.logLevel : 'warn' },
    inferenceProcesses: 2,
    logger,
    onProgress: (line) => progress.line(line),
    migrate,
    seedCredentials,
  });
  const interrupted = once(process, 'SIGINT').then(() => 'interrupted' as const);
  try {
    progress.line(
      `API ${platform.apiUrl}/docs   inference ${platform.inferenceUrl}   Temporal UI ${platform.temporalUiUrl}`,
    );
    const story = new Story({
      platform,
      folder: join(home, 'data'),
      sample,
      ratePerSecond: sample < 0.5 ? 250 : 1_500,
      progress,
    });
    const told = story.tell().then(() => 'told' as const);
    if ((await Promise.race([told, interrupted])) === 'interrupted') return 130;
    await printSummary(story, platform, progress);
    for (const surprise of story.surprises) process.stdout.write(`NOT AS DESCRIBED    ${surprise}\n`);
    const stays = values.keep === true || (values.exit !== true && process.stdout.isTTY);
    if (stays) {
      process.stdout.write('\neverything stays up; Ctrl-C ends it\n');
      await interrupted;
    }
    return story.surprises.length === 0 ? 0 : 1;
  } catch (error) {
    process.stdout.write(
      `\n${error instanceof SerinError ? `${error.title}: ` : ''}${(error as Error).message}\nlogs: ${join(home, 'logs')}\n`,
    );
    if (!(error instanceof SerinError)) logger.error({ err: error }, 'the demo failed');
    return 1;
  } finally {
    await platform.stop();
  }
}
