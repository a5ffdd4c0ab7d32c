import { homedir, hostname } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Type, type Static, type TSchema } from 'typebox';
import Value from 'typebox/value';
import { SerinError } from '../domain/errors.ts';
import { KAFKA_EXPECTED, type KafkaSettings, parseKafkaSettings } from './kafka-settings.ts';

export const TASK_QUEUES = ['serin-control', 'serin-data', 'serin-training'] as const;

const port = (options: VariableOptions) => Type.Integer({ minimum: 0, maximum: 65_535, ...options });
const text = (options: VariableOptions) => Type.String({ minLength: 1, ...options });
const url = (schemes: string, options: VariableOptions) => Type.String({ pattern: `^(${schemes})://.+`, ...options });

interface VariableOptions {
  /** The environment variable that sets this value. */
  readonly env: string;
  readonly description: string;
  /** What a bad value is told; derived from the schema when left out. */
  readonly expected?: string;
  readonly default?: unknown;
  /** How the table of the reference puts a default that depends on the machine. */
  readonly defaultText?: string;
  /** Shown as given or not given, never printed. */
  readonly secret?: boolean;
}

/** Every environment variable Serin reads. `docs/reference/configuration.md` is generated from this (`configurationTable`). */
export const CONFIG_SCHEMA = Type.Object({
  databaseUrl: url('postgres|postgresql', {
    env: 'SERIN_DATABASE_URL',
    description: 'PostgreSQL that holds what is true: definitions, registry, routes, decisions, logs.',
    expected: 'a URL like postgres://user:password@host:5432/serin',
    default: 'postgres://serin:serin@127.0.0.1:5432/serin',
  }),
  temporalAddress: Type.String({
    pattern: '^[^:/\\s]+:\\d+$',
    env: 'TEMPORAL_ADDRESS',
    description: 'Temporal frontend. When given, `serin up` uses it and starts no Temporal server of its own.',
    expected: 'host:port',
    default: '127.0.0.1:7233',
  }),
  temporalNamespace: text({
    env: 'TEMPORAL_NAMESPACE',
    description: 'Temporal namespace of the workflows.',
    default: 'default',
  }),
  temporalUiUrl: url('http|https', {
    env: 'TEMPORAL_UI_URL',
    description: 'Temporal UI, for the links in answers and on the terminal.',
    expected: 'an http or https URL',
    default: 'http://127.0.0.1:8233',
  }),
  temporalCli: Type.String({
    env: 'SERIN_TEMPORAL_CLI',
    description: 'The `temporal` program that `serin up` and the tests start; searched for when not given.',
    default: '',
    defaultText: 'found or obtained',
  }),
  blobUrl: url('file', {
    env: 'SERIN_BLOB_URL',
    description: 'Where immutable bytes lie: Parquet, datasets, models, reports.',
    expected: 'a URL like file:///var/lib/serin/blobs',
    default: '',
    defaultText: '`<SERIN_HOME>/blobs`',
  }),
  onlineStoreUrl: url('postgres|postgresql|redis|rediss', {
    env: 'SERIN_ONLINE_STORE_URL',
    description: 'Online feature store, for all that write it and read it: PostgreSQL or Redis.',
    expected: 'a URL like postgres://user:password@host:5432/serin or redis://host:6379',
    default: '',
    defaultText: '`SERIN_DATABASE_URL`',
  }),
  redisServer: Type.String({
    env: 'SERIN_REDIS_SERVER',
    description: 'The `redis-server` program that tests and benchmarks start; searched for when not given.',
    default: '',
    defaultText: 'found or obtained',
  }),
  kafka: Type.String({
    env: 'SERIN_KAFKA',
    description:
      'Kafka topics that workers of the queue `serin-data` read, as JSON: `brokers`, and by topic the source in `topics`; also `tls`, and `sasl` with `mechanism`, `username` and `password`.',
    expected: KAFKA_EXPECTED,
    default: '',
    defaultText: 'none',
    secret: true,
  }),
  home: text({
    env: 'SERIN_HOME',
    description: 'Folder of the embedded platform: databases, blobs, logs, credentials.',
    default: '.serin',
  }),
  workDir: Type.String({
    env: 'SERIN_WORK_DIR',
    description: 'Scratch folder of activities; may be emptied while nothing runs.',
    default: '',
    defaultText: '`<SERIN_HOME>/work`',
  }),
  cacheDir: Type.String({
    env: 'XDG_CACHE_HOME',
    description: 'Parent of the machine-wide cache (`serin/`) that keeps the Temporal server program.',
    default: '',
    defaultText: '`~/.cache`',
  }),
  apiHost: text({ env: 'SERIN_API_HOST', description: 'Address the API listens on.', default: '127.0.0.1' }),
  apiPort: port({ env: 'SERIN_API_PORT', description: 'Port the API listens on; 0 takes a free one.', default: 8080 }),
  apiUrl: url('http|https', {
    env: 'SERIN_API_URL',
    description: 'Where clients (the CLI, workers) reach the API.',
    expected: 'an http or https URL',
    default: 'http://127.0.0.1:8080',
  }),
  inferenceHost: text({
    env: 'SERIN_INFERENCE_HOST',
    description: 'Address the inference tier listens on.',
    default: '127.0.0.1',
  }),
  inferencePort: port({
    env: 'SERIN_INFERENCE_PORT',
    description: 'Port the inference tier listens on; 0 takes a free one.',
    default: 8081,
  }),
  inferenceGrpcPort: Type.Integer({
    minimum: -1,
    maximum: 65_535,
    env: 'SERIN_INFERENCE_GRPC_PORT',
    description: 'Port for the Open Inference Protocol over gRPC; 0 takes a free one, -1 none.',
    default: -1,
  }),
  inferenceUrl: url('http|https', {
    env: 'SERIN_INFERENCE_URL',
    description: 'Where clients reach the inference tier.',
    expected: 'an http or https URL',
    default: 'http://127.0.0.1:8081',
  }),
  inferenceProcesses: Type.Integer({
    minimum: 1,
    maximum: 256,
    env: 'SERIN_INFERENCE_PROCESSES',
    description: 'Inference processes behind the one port, about one a core.',
    default: 1,
  }),
  inferenceDeadlineMs: Type.Integer({
    minimum: 0,
    maximum: 60_000,
    env: 'SERIN_INFERENCE_DEADLINE_MS',
    description:
      'Deadline of requests to plain files (`serin serve`) that bring none, in milliseconds; 0: none. Routed models have theirs in the project (`serving.deadlineMs`).',
    default: 0,
  }),
  inferenceClientRate: Type.Integer({
    minimum: 0,
    maximum: 1_000_000_000,
    env: 'SERIN_INFERENCE_CLIENT_RATE',
    description:
      'Rows a second that one client may ask of an inference tier, shared evenly between its processes; 0: no limit.',
    default: 0,
  }),
  inferenceClientBurst: Type.Integer({
    minimum: 0,
    maximum: 1_000_000_000,
    env: 'SERIN_INFERENCE_CLIENT_BURST',
    description: 'Rows that a client which was quiet may ask at once, shared as the rate is; 0: those of a second.',
    default: 0,
  }),
  inferenceHangSeconds: Type.Integer({
    minimum: 0,
    maximum: 86_400,
    env: 'SERIN_INFERENCE_HANG_SECONDS',
    description:
      'A serving process that says nothing for so long, because something holds its event loop, is ended and started again, where there are several behind a port. 0: never, for a debugger.',
    default: 30,
  }),
  inferenceBodyMemoryMib: Type.Integer({
    minimum: 0,
    maximum: 16_777_216,
    env: 'SERIN_INFERENCE_BODY_MEMORY_MIB',
    description:
      'Memory for request bodies in each inference process, MiB, from their arrival to their answer. Beyond it large bodies are refused. Small ones, which come in one piece, are not counted. 0: no bound.',
    default: 256,
  }),
  inferenceModelMemoryMib: Type.Integer({
    minimum: 0,
    maximum: 16_777_216,
    env: 'SERIN_INFERENCE_MODEL_MEMORY_MIB',
    description:
      'Memory for models in each inference process, MiB, by the estimate that `/v1/models` shows. Beyond it the least recently used go (never what a route names), and come back when they are asked for. 0: no bound, and versions without a route are not loaded.',
    default: 0,
  }),
  callbackTo: Type.Enum(['public', 'anywhere'], {
    env: 'SERIN_CALLBACK_TO',
    description:
      'Where answers of asynchronous predictions may be delivered: `public` is https and public addresses alone, `anywhere` also http and private addresses.',
    expected: 'one of public, anywhere',
    default: 'public',
  }),
  metricsPort: port({
    env: 'SERIN_METRICS_PORT',
    description:
      'Port on which a worker, or an inference tier of several processes, serves `/metrics` and `/health`; 0 takes a free one.',
    default: 9464,
  }),
  metricsHost: text({
    env: 'SERIN_METRICS_HOST',
    description: 'Address of that port.',
    default: '127.0.0.1',
  }),
  workerQueues: Type.Array(Type.Enum([...TASK_QUEUES]), {
    minItems: 1,
    env: 'SERIN_WORKER_QUEUES',
    description: 'Task queues a worker serves, separated by commas.',
    expected: `some of ${TASK_QUEUES.join(', ')}, separated by commas`,
    default: [...TASK_QUEUES],
  }),
  nodeId: Type.String({
    env: 'SERIN_NODE_ID',
    description: 'Name of this process in logs, metrics, Temporal identities and routing acknowledgements.',
    default: '',
    defaultText: '`<host>-<pid>`',
  }),
  logLevel: Type.Enum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'], {
    env: 'SERIN_LOG_LEVEL',
    description: 'Least severe log line that is written.',
    expected: 'one of trace, debug, info, warn, error, fatal, silent',
    default: 'info',
  }),
  token: Type.String({
    env: 'SERIN_TOKEN',
    description: 'API token a client sends. The CLI falls back to `<SERIN_HOME>/credentials.json`.',
    default: '',
    defaultText: 'none',
    secret: true,
  }),
  operatorToken: Type.String({
    env: 'SERIN_OPERATOR_TOKEN',
    description: 'Token that loading and unloading models over the Open Inference Protocol needs (`serin serve`).',
    default: '',
    defaultText: 'none: whoever reaches the port may',
    secret: true,
  }),
  redactionKey: Type.String({
    env: 'SERIN_REDACTION_KEY',
    description:
      'Secret that turns personal values into tokens before predictions are logged; the same for api, workers and inference. After a change keep the old one behind a comma: what it made is found by it.',
    default: '',
    defaultText: 'one that the database has made for itself',
    secret: true,
  }),
  duckdbMemory: Type.String({
    pattern: '^\\d+(\\.\\d+)?\\s?(KB|MB|GB|TB|KiB|MiB|GiB|TiB)$',
    env: 'SERIN_DUCKDB_MEMORY',
    description: 'Memory limit of each DuckDB instance.',
    expected: 'a size like 1GB',
    default: '1GB',
  }),
  duckdbThreads: Type.Integer({
    minimum: 1,
    maximum: 256,
    env: 'SERIN_DUCKDB_THREADS',
    description: 'Threads of each DuckDB instance.',
    default: 2,
  }),
  datasetThreads: Type.Integer({
    minimum: 0,
    maximum: 256,
    env: 'SERIN_DATASET_THREADS',
    description:
      'Key ranges of a dataset replayed at the same time, sharing the DuckDB limits; 0: one for each core but one.',
    default: 0,
  }),
});

export interface Config extends Readonly<Static<typeof CONFIG_SCHEMA>> {
  /** What `SERIN_KAFKA` says; null: no topic is read. */
  readonly kafkaSettings: KafkaSettings | null;
  /** Names of the environment variables that were set, as opposed to defaulted. */
  readonly given: ReadonlySet<string>;
}

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Reads the configuration. An empty variable counts as not set (compose files set them so).
 * @throws SerinError `CONFIG_INVALID` naming the variable, its value and what was expected
 */
export function loadConfig(env: Environment = process.env): Config {
  const values: Record<string, unknown> = {};
  const given = new Set<string>();
  for (const [key, schema] of variables()) {
    const raw = env[schema.env];
    if (raw === undefined || raw === '') {
      values[key] = schema.default;
      continue;
    }
    values[key] = parse(schema, raw);
    given.add(schema.env);
  }
  return { ...withDefaults(values as Static<typeof CONFIG_SCHEMA>), given };
}

/** What a child process inherits before its own variables are laid over. */
export function inheritedEnvironment(): Environment {
  return process.env;
}

/** The environment variables by name. */
export function environmentNames(): string[] {
  return variables().map(([, schema]) => schema.env);
}

/** The table of `docs/reference/configuration.md`. */
export function configurationTable(): string {
  const rows = variables().map(
    ([, schema]) =>
      `| \`${schema.env}\` | ${expectation(schema)} | ${schema.defaultText ?? `\`${String(schema.default)}\``} | ${schema.description} |`,
  );
  return [
    '# Configuration',
    '',
    'Serin is configured by environment variables. A bad value stops the process with its name and what was expected.',
    'This page is generated from `platform/config.ts` by `node dist/scripts/write-configuration-reference.js`.',
    '',
    '| variable | expected | default | what it is for |',
    '|---|---|---|---|',
    ...rows,
    '',
  ].join('\n');
}

type VariableSchema = TSchema &
  VariableOptions & { type?: string; enum?: readonly string[]; minimum?: number; maximum?: number };

function variables(): [string, VariableSchema][] {
  return Object.entries(CONFIG_SCHEMA.properties as unknown as Record<string, VariableSchema>);
}

function parse(schema: VariableSchema, raw: string): unknown {
  const value = parsed(schema, raw);
  if (Value.Check(schema, value)) return value;
  const shown = schema.secret ? 'a value' : `'${raw.replace(/\/\/[^@/]*@/, '//***@')}'`;
  throw new SerinError('CONFIG_INVALID', `${schema.env} is ${shown}, expected ${expectation(schema)}`, {
    fields: { variable: schema.env, expected: expectation(schema) },
  });
}

function parsed(schema: VariableSchema, raw: string): unknown {
  if (schema.type === 'integer') return /^-?\d+$/.test(raw.trim()) ? Number(raw) : raw;
  if (schema.type === 'array') return raw.split(',').map((item) => item.trim());
  return raw;
}

function expectation(schema: VariableSchema): string {
  if (schema.expected !== undefined) return schema.expected;
  if (schema.type === 'integer') return `an integer from ${schema.minimum} to ${schema.maximum}`;
  return 'text';
}

function withDefaults(config: Static<typeof CONFIG_SCHEMA>): Omit<Config, 'given'> {
  const home = resolve(config.home);
  return {
    ...config,
    home,
    blobUrl: config.blobUrl || pathToFileURL(join(home, 'blobs')).href,
    workDir: resolve(config.workDir || join(home, 'work')),
    cacheDir: resolve(config.cacheDir || join(homedir(), '.cache')),
    onlineStoreUrl: config.onlineStoreUrl || config.databaseUrl,
    kafkaSettings: parseKafkaSettings(config.kafka),
    nodeId: config.nodeId || `${hostname()}-${process.pid}`,
  };
}
