import type { Command } from 'commander';
import { SerinError } from '../../domain/errors.ts';
import type { CatalogueFeature } from '../../domain/project/catalogue.ts';
import type { FeatureField, JsonSchema, ModelSignature } from '../../domain/project/feature-schema.ts';
import type { PlannedChange, ProjectPlan } from '../../domain/project/plan.ts';
import { EXIT } from '../exit-codes.ts';
import { loadProject } from '../load-project.ts';
import { fields, instant, type Output, print, table } from '../output.ts';
import type { CliContext } from '../run-cli.ts';
import { type GlobalOptions, openSession } from '../session.ts';

interface OfProject extends GlobalOptions {
  readonly project?: string;
}

export function register(program: Command, { action }: CliContext): void {
  program
    .command('plan')
    .argument('<file>', 'the project: a TypeScript or JavaScript module with a default export')
    .description('what applying a project would change, and who stands in the way; nothing is sent but the question')
    .addHelpText(
      'after',
      '\nExample:\n  serin plan examples/flights/project.ts\n\nEnds with 1 when the apply would be refused.',
    )
    .action(
      action<GlobalOptions>(async ({ output, options, args }) => {
        const { spec } = await loadProject(args[0]!);
        const { api } = await openSession(options, 'viewer');
        const plan = await api.post<ProjectPlan>(`projects/${spec.name}/plan`, { spec });
        print(output, plan, showPlan);
        return plan.refused ? EXIT.failed : EXIT.done;
      }),
    );

  const features = program
    .command('features')
    .description('the catalogue of features')
    .option('--project <project>', 'of one project; of all when left out')
    .addHelpText('after', '\nExample:\n  serin features --project flights')
    .action(
      action<OfProject>(async ({ output, options }) => {
        const { api } = await openSession(options, 'viewer');
        const answer = await api.get<{ features: CatalogueFeature[] }>('features', {
          query: { project: options.project },
        });
        print(output, answer, (all) => listFeatures(output, all.features));
      }),
    );
  features
    .command('show')
    .argument(
      '<name>',
      'as definition/feature, such as origin_delays@1/delay_share; the feature alone where that is clear',
    )
    .option('--project <project>')
    .description('one feature: what it computes, from which columns, and who reads it')
    .addHelpText('after', '\nExample:\n  serin features show origin_delays@1/delay_share')
    .action(
      action<OfProject>(async ({ output, options, args: [name] }) => {
        const { api } = await openSession(options, 'viewer');
        const query = { query: { project: options.project } };
        const [definition, feature] = name!.split('/');
        const found =
          feature === undefined
            ? theOne(name!, (await api.get<{ features: CatalogueFeature[] }>('features', query)).features)
            : await api.get<CatalogueFeature>(`features/${encodeURIComponent(definition!)}/${feature}`, query);
        print(output, found, showFeature);
      }),
    );
  features
    .command('freshness')
    .option('--project <project>', 'of one project; of all when left out')
    .description('how old the online views are beside what their SLA allows; ends with 1 when one is too old')
    .addHelpText('after', '\nExample:\n  serin features freshness --project flights')
    .action(
      action<OfProject>(async ({ output, options }) => {
        const { api } = await openSession(options, 'viewer');
        const answer = await api.get<{ views: ViewFreshnessAnswer[] }>('features/freshness', {
          query: { project: options.project },
        });
        print(output, answer, ({ views }) =>
          table(
            output,
            ['view', 'SLA s', 'newest event', 'data age s', 'waiting s', 'last delay s', 'breached'],
            views.map((view) => [
              view.view,
              view.slaSeconds,
              instant(view.newestEventAt),
              shownSeconds(view.dataAgeSeconds),
              shownSeconds(view.waitingSeconds),
              shownSeconds(view.lastDelaySeconds),
              view.breached.join(', '),
            ]),
          ),
        );
        return answer.views.some(({ breached }) => breached.length > 0) ? EXIT.failed : EXIT.done;
      }),
    );
  features
    .command('set')
    .argument('<project>')
    .argument('<set>', 'as name@version')
    .description('the input of a model: columns and types; with --json also the JSON Schemas and the signature')
    .addHelpText('after', '\nExample:\n  serin features set flights delay_features@1')
    .action(
      action<GlobalOptions>(async ({ output, options, args: [project, set] }) => {
        const { api } = await openSession(options, 'viewer');
        const answer = await api.get<FeatureSetAnswer>(`projects/${project}/feature-sets/${encodeURIComponent(set!)}`);
        print(output, answer, (it) =>
          table(
            output,
            ['column', 'type', 'null', 'default', 'description'],
            it.fields.map(({ name, type, nullable, default: otherwise, description }) => [
              name,
              type,
              nullable ? 'null' : '',
              otherwise === null ? '' : JSON.stringify(otherwise),
              description,
            ]),
          ),
        );
      }),
    );
}

interface ViewFreshnessAnswer {
  readonly view: string;
  readonly slaSeconds: number;
  readonly newestEventAt: number | null;
  readonly dataAgeSeconds: number | null;
  readonly waitingSeconds: number;
  readonly lastDelaySeconds: number | null;
  readonly breached: readonly string[];
}

function shownSeconds(seconds: number | null): string {
  return seconds === null ? '' : seconds.toFixed(seconds < 10 ? 2 : 0);
}

interface FeatureSetAnswer {
  readonly featureSet: string;
  readonly fields: readonly FeatureField[];
  readonly requestSchema: JsonSchema;
  readonly rowSchema: JsonSchema;
  readonly signature: ModelSignature;
}

const SIGNS: Readonly<Record<PlannedChange['effect'], string>> = {
  added: '+',
  removed: '-',
  metadata: '~',
  'next-use': '~',
  backfill: '!',
  breaking: 'x',
};

function showPlan({ project, isNew, changes, backfill, refused }: ProjectPlan): string {
  if (changes.length === 0) return `${project}: nothing changes`;
  const head = `${project}${isNew ? ' is new' : ''}: ${countsOf(changes)}`;
  const lines = changes.map(({ effect, sentence }) => `  ${SIGNS[effect]} ${sentence}`);
  const after = [
    ...(backfill.length === 0
      ? []
      : [`afterwards: serin materialize ${project} ${backfill.map((view) => `--view ${view}`).join(' ')}`]),
    ...(refused ? ['apply refuses this project'] : []),
  ];
  return [head, ...lines, ...after].join('\n');
}

function countsOf(changes: readonly PlannedChange[]): string {
  const counts = new Map<string, number>();
  for (const { effect } of changes) counts.set(effect, (counts.get(effect) ?? 0) + 1);
  return [...counts].map(([effect, count]) => `${count} ${EFFECT_NAMES[effect] ?? effect}`).join(', ');
}

const EFFECT_NAMES: Readonly<Record<string, string>> = {
  metadata: 'metadata only',
  'next-use': 'from now on',
  backfill: 'need backfill',
};

function listFeatures(output: Output, features: readonly CatalogueFeature[]): string {
  return table(
    output,
    ['feature', 'type', 'computes', 'owner', 'pii', 'read by'],
    features.map(({ definition, name, type, computes, owner, pii, readBy }) => [
      `${definition}/${name}`,
      type,
      computes,
      owner,
      pii ? 'pii' : '',
      readersText(readBy),
    ]),
  );
}

function readersText({ featureSets, models }: CatalogueFeature['readBy']): string {
  const live = models.filter(({ stage }) => stage !== 'archived');
  if (live.length > 0) return live.map(({ model, version, stage }) => `${model} v${version} (${stage})`).join(', ');
  return featureSets.join(', ');
}

function showFeature(feature: CatalogueFeature): string {
  const { lineage, readBy, requestFields, ttlSeconds, freshnessSlaSeconds, windows, outputs } = feature;
  return [
    fields({
      feature: `${feature.definition}/${feature.name}`,
      project: feature.project,
      type: feature.type,
      computes: feature.computes,
      windows: windows.join('; ') || null,
      values: outputs.join(', '),
      default: feature.default === null ? null : JSON.stringify(feature.default),
      boundary: feature.boundary,
      'ttl seconds': ttlSeconds,
      'freshness SLA': freshnessSlaSeconds === null ? null : `${freshnessSlaSeconds} s`,
      owner: feature.owner,
      description: feature.description,
      'personal data': feature.pii ? 'yes' : 'no',
      'from the request': requestFields.join(', ') || null,
      'feature sets': readBy.featureSets.join(', ') || 'none',
      'read by':
        readBy.models.map(({ model, version, stage }) => `${model} v${version} (${stage})`).join(', ') || 'no model',
    }),
    ...lineage.map(
      ({ source, column, type, pii, roles }) =>
        `  ${source}.${column} (${type}${pii ? ', personal data' : ''}): ${roles.join(', ')}`,
    ),
  ].join('\n');
}

/** The feature of that name; several are for the caller to choose from. */
function theOne(name: string, features: readonly CatalogueFeature[]): CatalogueFeature {
  const found = features.filter((each) => each.name === name);
  if (found.length === 1) return found[0]!;
  const which = found.map(({ definition }) => `${definition}/${name}`);
  throw new SerinError(
    'FEATURE_NOT_FOUND',
    found.length === 0
      ? `there is no feature "${name}"; see: serin features`
      : `"${name}" is a feature of several definitions; say which: ${which.join(', ')}`,
  );
}
