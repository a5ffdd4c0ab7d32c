import cluster from 'node:cluster';
import { parseArgs } from 'node:util';
import { SerinError } from '../domain/errors.ts';
import { loadConfig, type Config } from '../platform/config.ts';
import { createLogger, type Logger } from '../platform/logger.ts';
import { createShutdown, type Shutdown } from '../platform/shutdown.ts';
import { startPrimary } from './process/cluster-primary.ts';
import { serve } from './process/serve.ts';
import type { ServingNode } from './process/serving-node.ts';
import type { ModelFile } from './oip/file-repository.ts';
import { startStandaloneNode } from './process/standalone-node.ts';

/**
 * The inference tier. Without arguments it routes by PostgreSQL; with `--model NAME=FILE.onnx` (repeatable) it serves plain
 * files, needs nothing else, and with one process runs in this one.
 */
async function main(): Promise<void> {
  const config = loadConfig();
  const logger = createLogger({ service: 'inference', node: config.nodeId, level: config.logLevel });
  try {
    const files = readModelFiles();
    const shutdown = createShutdown({ logger });
    if (cluster.isPrimary && (files.length === 0 || config.inferenceProcesses > 1)) {
      await startPrimary(config, logger, shutdown);
      return;
    }
    const node =
      files.length > 0
        ? await startStandaloneNode(files, config, logger, config.operatorToken || null)
        : await startRouted(config, logger, shutdown);
    await serve(node, config, logger, shutdown);
  } catch (error) {
    logger.fatal({ err: error }, error instanceof SerinError ? error.message : 'the inference tier does not start');
    process.exitCode = 1;
    process.exit();
  }
}

async function startRouted(config: Config, logger: Logger, shutdown: Shutdown): Promise<ServingNode> {
  // plain files are served without loading what talks to PostgreSQL
  const [{ startRoutedNode }, { openFeatures }] = await Promise.all([
    import('./process/routed-node.ts'),
    import('./process/open-features.ts'),
  ]);
  const features = openFeatures(config.onlineStoreUrl);
  shutdown.onClose('online store', () => features.close());
  await features.connect();
  return startRoutedNode({ config, logger, inputOf: features.inputOf, store: features.store });
}

function readModelFiles(): ModelFile[] {
  const { values } = parseArgs({ options: { model: { type: 'string', multiple: true } } });
  return (values.model ?? []).map((text) => {
    const at = text.indexOf('=');
    if (at < 1 || at === text.length - 1) {
      throw new SerinError('CONFIG_INVALID', `--model is '${text}', expected NAME=FILE.onnx`, {
        fields: { option: '--model' },
      });
    }
    return { name: text.slice(0, at), path: text.slice(at + 1) };
  });
}

await main();
