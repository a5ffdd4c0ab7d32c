import { Type } from 'typebox';
import { registeredVersions } from '../../db/project-plan.ts';
import { getProject, listProjects } from '../../db/projects.ts';
import { SerinError } from '../../domain/errors.ts';
import { catalogueOf, type CatalogueFeature } from '../../domain/project/catalogue.ts';
import { featureFields, modelSignature, requestSchema, rowSchema } from '../../domain/project/feature-schema.ts';
import { nearestName } from '../../domain/project/names.ts';
import { versioned } from '../../domain/project/spec.ts';
import { may } from '../access.ts';
import type { ApiContext } from '../context.ts';
import { answers, type Api, Document, Maybe, ProjectName, FeatureName } from '../route-schema.ts';

const ColumnType = Type.Enum(['i64', 'f64', 'bool', 'str', 'ts']);
const Versioned = Type.String({ pattern: '^[a-z][a-z0-9_-]{0,62}@[0-9]{1,7}$', examples: ['origin_delays@1'] });
const Default = Type.Union([Type.Number(), Type.String(), Type.Boolean(), Type.Null()], {
  description: 'The value where there is none.',
});

const Feature = Type.Object({
  project: Type.String(),
  definition: Type.String({
    description: 'The view, or the feature set that derives it.',
    examples: ['origin_delays@1'],
  }),
  version: Type.Integer(),
  name: Type.String({ examples: ['delay_share'] }),
  kind: Type.Enum(['view', 'derived']),
  type: Type.String({ description: 'A column type, or list<group, value>.', examples: ['f64'] }),
  computes: Type.String({ examples: ['share of delay ≥ 15'] }),
  outputs: Type.Array(Type.String(), { examples: [['delay_share__3h']] }),
  windows: Type.Array(Type.String(), { examples: [['3h: 3h, hop 15min']] }),
  owner: Type.String(),
  description: Type.String(),
  freshnessSlaSeconds: Maybe(Type.Number()),
  ttlSeconds: Maybe(Type.Number()),
  boundary: Maybe(Type.Enum(['inclusive', 'exclusive'])),
  default: Default,
  lineage: Type.Array(
    Type.Object({
      source: Type.String(),
      column: Type.String(),
      type: ColumnType,
      pii: Type.Boolean(),
      roles: Type.Array(Type.Enum(['value', 'condition', 'group', 'key', 'time'])),
    }),
    { description: 'The columns it comes from, through every expression.' },
  ),
  requestFields: Type.Array(Type.String()),
  pii: Type.Boolean({ description: 'Some column it comes from holds personal data.' }),
  readBy: Type.Object({
    featureSets: Type.Array(Type.String()),
    models: Type.Array(Type.Object({ model: Type.String(), version: Type.Integer(), stage: Type.String() })),
  }),
});

export function registerCatalogueRoutes(api: Api, { db }: ApiContext): void {
  api.get(
    '/features',
    {
      config: may.read,
      schema: {
        tags: ['features'],
        summary: 'The catalogue: every feature, what it comes from and who reads it',
        querystring: Type.Object({ project: Type.Optional(ProjectName) }),
        response: answers(
          {
            200: {
              description: 'Of all projects where none is named.',
              schema: Type.Object({ features: Type.Array(Feature) }),
            },
          },
          ['PROJECT_NOT_FOUND'],
        ),
      },
    },
    async ({ query }) => ({ features: await catalogue(query.project) }),
  );

  api.get(
    '/features/:definition/:feature',
    {
      config: may.read,
      schema: {
        tags: ['features'],
        summary: 'One feature',
        params: Type.Object({ definition: Versioned, feature: FeatureName }),
        querystring: Type.Object({ project: Type.Optional(ProjectName) }),
        response: answers({ 200: { description: 'The feature.', schema: Feature } }, [
          'PROJECT_NOT_FOUND',
          'FEATURE_NOT_FOUND',
        ]),
      },
    },
    async ({ params: { definition, feature }, query }) => {
      const features = await catalogue(query.project);
      const found = features.find((each) => each.definition === definition && each.name === feature);
      if (found === undefined) throw featureNotFound(`${definition}/${feature}`, features);
      return found;
    },
  );

  api.get(
    '/projects/:name/feature-sets/:set',
    {
      config: may.read,
      schema: {
        tags: ['features'],
        summary: 'The input of a model: its columns, JSON Schemas of request and row, and the signature of its file',
        params: Type.Object({ name: ProjectName, set: Versioned }),
        response: answers(
          {
            200: {
              description: 'All derived from the feature set.',
              schema: Type.Object({
                featureSet: Type.String(),
                fields: Type.Array(
                  Type.Object({
                    name: Type.String(),
                    type: ColumnType,
                    nullable: Type.Boolean(),
                    default: Default,
                    description: Type.String(),
                  }),
                ),
                requestSchema: Document('JSON Schema (2020-12) of one instance.'),
                rowSchema: Document('JSON Schema (2020-12) of one row of features.'),
                signature: Document('Input and output tensors of the ONNX file.'),
              }),
            },
          },
          ['PROJECT_NOT_FOUND', 'REFERENCE_MISSING'],
        ),
      },
    },
    async ({ params }) => {
      const { spec } = await getProject(db, params.name);
      const fields = featureFields(spec, params.set);
      const set = spec.featureSets.find((each) => versioned(each) === params.set)!;
      return {
        featureSet: params.set,
        fields,
        requestSchema: requestSchema(set),
        rowSchema: rowSchema(params.set, fields),
        signature: modelSignature(fields.length),
      };
    },
  );

  async function catalogue(project: string | undefined): Promise<CatalogueFeature[]> {
    const names = project === undefined ? (await listProjects(db)).map(({ name }) => name) : [project];
    const each = await Promise.all(
      names.map(async (name) => {
        const { spec } = await getProject(db, name);
        return catalogueOf(spec, await registeredVersions(db, name));
      }),
    );
    return each.flat();
  }
}

function featureNotFound(wanted: string, features: readonly CatalogueFeature[]): SerinError {
  const nearest = nearestName(
    wanted,
    features.map(({ definition, name }) => `${definition}/${name}`),
  );
  const way = nearest === null ? 'see: serin features' : `did you mean "${nearest}"?`;
  return new SerinError('FEATURE_NOT_FOUND', `there is no feature "${wanted}"; ${way}`, {
    fields: { field: 'feature', value: wanted, nearest },
  });
}
