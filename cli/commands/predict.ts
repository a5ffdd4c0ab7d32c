import type { Command } from 'commander';
import { SerinError } from '../../domain/errors.ts';
import { readProblem } from '../api-client.ts';
import { EXIT } from '../exit-codes.ts';
import { print } from '../output.ts';
import type { CliContext } from '../run-cli.ts';
import { type GlobalOptions, openSession } from '../session.ts';
import { askLater } from './predict-later.ts';
import { type Prediction, showPredictions } from './show-predictions.ts';

interface PredictOptions extends GlobalOptions {
  readonly body?: string;
  readonly explain?: boolean;
  readonly by?: string;
  readonly later?: boolean;
  readonly key?: string;
  readonly wait: boolean;
}

interface PredictAnswer {
  readonly predictions: readonly Prediction[];
}

export function register(program: Command, { action }: CliContext): void {
  program
    .command('predict')
    .argument('<model>')
    .argument('[fields...]', 'request fields as name=value; a value that is JSON is taken as such')
    .description('ask the inference tier')
    .option('--body <json>', 'the whole request: one instance, or {"instances": […]}')
    .option('--explain', 'with the features that were used, and how the score became a label')
    .option('--by <who>', 'a loaded version, such as v4, or an arm: champion or canary (engineer, approver, operator)')
    .option(
      '--later',
      'by way of the API, which asks until there is an answer: for what may take longer than a request',
    )
    .option('--key <text>', 'with --later: the same key is the same question, asked once (Idempotency-Key)')
    .option('--no-wait', 'with --later: do not wait for the answer; serin predictions fetch ID has it')
    .addHelpText(
      'after',
      '\nExample:\n  serin predict flight-delay origin=SEA destination=SFO distance=679\n' +
        '  serin predict flight-delay origin=SEA destination=SFO distance=679 --by canary --explain\n' +
        '  serin predict flight-delay origin=SEA destination=SFO distance=679 --later --no-wait',
    )
    .action(
      action<PredictOptions>(async ({ output, options, args: [model, ...given] }) => {
        refuseMixed(options);
        const body = options.body === undefined ? readFields(given) : parseBody(options.body);
        if (options.later === true) {
          const { api } = await openSession(options, 'engineer');
          return askLater({ api, output, wait: options.wait }, { model: model!, body, key: options.key });
        }
        const { inferenceUrl, token } = await openSession(options, options.by === undefined ? 'viewer' : 'engineer');
        const target = `${inferenceUrl}/v1/models/${model}/predict${options.explain === true ? '?explain=features' : ''}`;
        const answer = await post(target, body, options.by === undefined ? {} : chosen(options.by, token));
        print(output, answer, ({ predictions }) => showPredictions(predictions));
        return EXIT.done;
      }),
    );
}

/** @throws SerinError INPUT_INVALID naming the option that does not go with the others */
function refuseMixed({ later, by, explain, key, wait }: PredictOptions): void {
  const given = {
    '--by': by !== undefined,
    '--explain': explain === true,
    '--key': key !== undefined,
    '--no-wait': !wait,
  };
  const wrong = later === true ? (['--by', '--explain'] as const) : (['--key', '--no-wait'] as const);
  const option = wrong.find((name) => given[name]);
  if (option === undefined) return;
  const rule =
    later === true
      ? 'it does not go with --later: the answer is the predict route’s own'
      : 'it goes with --later alone';
  throw new SerinError('INPUT_INVALID', `${option} is given; ${rule}`, { fields: { field: option, rule } });
}

/** `v4`, `4`, `canary` as the headers that the inference tier takes. */
function chosen(who: string, token: string): Record<string, string> {
  const header = who === 'champion' || who === 'canary' ? 'x-serin-arm' : 'x-serin-version';
  return { [header]: who, authorization: `Bearer ${token}` };
}

async function post(target: string, body: object, headers: Readonly<Record<string, string>>): Promise<PredictAnswer> {
  let response: Response;
  try {
    response = await fetch(target, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify(body),
    });
  } catch (error) {
    throw new SerinError('MODEL_NOT_READY', `nothing answers at ${target}; start it with: serin up`, { cause: error });
  }
  const text = await response.text();
  if (response.ok) return JSON.parse(text) as PredictAnswer;
  throw (
    readProblem(text) ??
    new SerinError('MODEL_NOT_READY', `${target} answered ${response.status}: ${text.slice(0, 200)}`)
  );
}

/** `origin=SEA distance=679` → `{origin: 'SEA', distance: 679}`; quote a text that looks like JSON: `code='"12"'`. */
export function readFields(given: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(
    given.map((pair) => {
      const at = pair.indexOf('=');
      if (at < 1) throw new SerinError('INPUT_INVALID', `"${pair}" is no field; write name=value`);
      const text = pair.slice(at + 1);
      let value: unknown = text;
      try {
        value = JSON.parse(text);
      } catch {
        // not JSON: the text itself
      }
      return [pair.slice(0, at), value];
    }),
  );
}

function parseBody(text: string): object {
  try {
    const body: unknown = JSON.parse(text);
    if (typeof body === 'object' && body !== null) return body;
  } catch (error) {
    throw new SerinError('INPUT_INVALID', `--body is no JSON: ${(error as Error).message}`, { cause: error });
  }
  throw new SerinError('INPUT_INVALID', '--body must be a JSON object');
}
