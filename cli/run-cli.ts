import { Command, CommanderError } from 'commander';
import { SerinError } from '../domain/errors.ts';
import { EXIT, exitCodeOf } from './exit-codes.ts';
import { createOutput, type Output } from './output.ts';
import type { GlobalOptions } from './session.ts';

/** A group of commands, read only when one of them is asked for. */
interface Group {
  readonly names: readonly string[];
  readonly load: () => Promise<{ register(program: Command, context: CliContext): void }>;
}

/** One command as it was asked for. */
export interface Invocation<O extends GlobalOptions> {
  readonly output: Output;
  readonly options: O;
  readonly args: readonly string[];
}

export interface CliContext {
  /** The action of a command; what the body returns is the exit code, done when nothing. */
  readonly action: <O extends GlobalOptions>(
    body: (invocation: Invocation<O>) => Promise<number | void>,
  ) => (...given: unknown[]) => Promise<void>;
}

const GROUPS: readonly Group[] = [
  { names: ['up', 'doctor', 'db'], load: () => import('./commands/platform.ts') },
  {
    names: ['apply', 'projects', 'ingest', 'batches', 'events', 'materialize', 'dataset'],
    load: () => import('./commands/data.ts'),
  },
  { names: ['forget'], load: () => import('./commands/forget.ts') },
  { names: ['source'], load: () => import('./commands/sources.ts') },
  { names: ['plan', 'features'], load: () => import('./commands/features.ts') },
  { names: ['train', 'runs', 'gates', 'deliver', 'schedule'], load: () => import('./commands/training.ts') },
  {
    names: ['models', 'outcomes', 'quality', 'alerts', 'monitor'],
    load: () => import('./commands/models.ts'),
  },
  { names: ['predict'], load: () => import('./commands/predict.ts') },
  { names: ['predictions'], load: () => import('./commands/predictions.ts') },
  { names: ['consistency'], load: () => import('./commands/consistency.ts') },
  { names: ['score'], load: () => import('./commands/scoring.ts') },
  { names: ['serve'], load: () => import('./commands/serve.ts') },
  { names: ['rollout', 'rollback'], load: () => import('./commands/rollout.ts') },
  { names: ['audit', 'token', 'operation'], load: () => import('./commands/administration.ts') },
];

/** @returns the exit code */
export async function runCli(argv: readonly string[]): Promise<number> {
  let exitCode: number = EXIT.done;
  const wanted = argv.find((argument) => !argument.startsWith('-'));
  const program = await createProgram(wanted, (code) => {
    exitCode = code;
  });
  try {
    await program.parseAsync([...argv], { from: 'user' });
    return exitCode;
  } catch (error) {
    return report(error, argv.includes('--json'));
  }
}

/** The commands: the group that has `wanted`, or all where none has. */
export async function createProgram(wanted: string | undefined, ended: (exitCode: number) => void): Promise<Command> {
  const program = new Command('serin');
  program
    .description('Durable delivery of machine-learning models: from events to live traffic and back.')
    .option('--json', 'answer as JSON on stdout')
    .option('--as <principal>', 'a principal of the embedded platform, by name or role')
    .option('--api <url>', 'where the API is (SERIN_API_URL, else the platform of the home)')
    .option('--home <folder>', 'folder of the embedded platform (SERIN_HOME)')
    .exitOverride()
    .showHelpAfterError('(--help shows what the command takes)')
    .addHelpText('after', '\nExit codes: 0 done, 1 failed, 2 usage, 4 not allowed, 8 still running.');
  const context: CliContext = {
    action:
      <O extends GlobalOptions>(body: (invocation: Invocation<O>) => Promise<number | void>) =>
      async (...given) => {
        const command = given.at(-1) as Command;
        const options = command.optsWithGlobals<O>();
        const output = createOutput({ json: options.json === true });
        ended((await body({ output, options, args: command.args })) ?? EXIT.done);
      },
  };
  const groups = GROUPS.filter(({ names }) => wanted !== undefined && names.includes(wanted));
  for (const { load } of groups.length > 0 ? groups : GROUPS) (await load()).register(program, context);
  return program;
}

function report(error: unknown, json: boolean): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.usage;
  const output = createOutput({ json });
  if (!(error instanceof SerinError)) {
    output.note(
      `serin failed in a way it does not know; please report this:\n${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
    );
    return EXIT.failed;
  }
  const { code, title, status, message: detail, fields } = error;
  if (json) output.note(JSON.stringify({ ...fields, code, title, status, detail }));
  else output.note(`${title} (${code})\n  ${detail}`);
  return exitCodeOf(code);
}
