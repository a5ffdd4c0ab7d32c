import type { Command } from 'commander';
import { SerinError } from '../../domain/errors.ts';
import { readProblem } from '../api-client.ts';
import { fields, print } from '../output.ts';
import type { CliContext } from '../run-cli.ts';
import { type GlobalOptions, openSession } from '../session.ts';

interface PredictOptions extends GlobalOptions {
  readonly body?: string;
  readonly explain?: boolean;
  readonly by?: string;
}

interface Prediction {
  readonly predictionId: string;
  readonly score: number;
  readonly label: number;
  readonly class?: string;
  readonly version: number;
  readonly answeredBy?: string;
  readonly arm: string;
  readonly rung: string;
  readonly reason?: string;
  readonly asOf: string;
  /** From here on with --explain. */
  readonly rawScore?: number;
  readonly threshold?: number;
  readonly slice?: string | null;
  readonly error?: string | null;
  readonly features?: Readonly<Record<string, Feature>>;
}

interface Feature {
  readonly value: number | null;
  readonly status: string;
  readonly ageSeconds: number | null;
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
    .addHelpText(
      'after',
      '\nExample:\n  serin predict flight-delay origin=SEA destination=SFO distance=679\n' +
        '  serin predict flight-delay origin=SEA destination=SFO distance=679 --by canary --explain',
    )
    .action(
      action<PredictOptions>(async ({ output, options, args: [model, ...given] }) => {
        const { inferenceUrl, token } = await openSession(options, options.by === undefined ? 'viewer' : 'engineer');
        const body = options.body === undefined ? readFields(given) : parseBody(options.body);
        const target = `${inferenceUrl}/v1/models/${model}/predict${options.explain === true ? '?explain=features' : ''}`;
        const answer = await post(target, body, options.by === undefined ? {} : chosen(options.by, token));
        print(output, answer, ({ predictions }) => predictions.map(shown).join('\n\n'));
      }),
    );
}

function shown({ features = {}, ...prediction }: Prediction): string {
  const { version, arm, rung, reason, answeredBy, slice } = prediction;
  const version_ = answeredBy === undefined ? `v${version}` : `${answeredBy} v${version}`;
  return fields({
    prediction: prediction.predictionId,
    score: prediction.score,
    'raw score': prediction.rawScore,
    label: prediction.class === undefined ? prediction.label : `${prediction.label} (${prediction.class})`,
    threshold:
      prediction.threshold === undefined
        ? undefined
        : `${prediction.threshold}${typeof slice === 'string' ? ` (of ${slice})` : ''}`,
    'answered by': `${version_} (${[...new Set([arm, rung, ...(reason === undefined ? [] : [reason])])].join(', ')})`,
    error: prediction.error,
    'as of': prediction.asOf,
    ...Object.fromEntries(Object.entries(features).map(([name, feature]) => [name, featureText(feature)])),
  });
}

/** `12.5`, `12.5 (40 s old)`, `none (expired)` */
function featureText({ value, status, ageSeconds }: Feature): string {
  const notes = [
    ...(status === 'present' ? [] : [status.replace('_', ' ')]),
    ...(ageSeconds === null ? [] : [`${Math.round(ageSeconds)} s old`]),
  ];
  return `${value ?? 'none'}${notes.length === 0 ? '' : ` (${notes.join(', ')})`}`;
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
