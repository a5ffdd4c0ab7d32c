import type { Db } from '../../db/database.ts';
import { getProjectVersion, type ProjectVersion } from '../../db/projects.ts';
import { getVersion, type ModelVersion } from '../../db/registry.ts';
import type { BlobStore } from '../../domain/blob.ts';
import { SerinError } from '../../domain/errors.ts';
import { featureFields } from '../../domain/project/feature-schema.ts';
import { personalDataOf } from '../../domain/project/personal-data.ts';
import type { ModelSpec, ProjectSpec } from '../../domain/project/spec.ts';
import { postProcessingOf } from '../../domain/registry/post-processing.ts';
import type { ServingContract } from '../routing/route-entry.ts';
import type { FeatureInput } from '../scoring/feature-batch.ts';
import type { ModelLoader } from './model-loader.ts';
import { loadOnnxScorer } from './onnx-scorer.ts';
import { createRuleModel } from './rule-model.ts';
import type { Scorer } from './scorer.ts';
import type { ServedVersion } from './served-version.ts';
import { trainedSignature } from './signature.ts';

export interface LoadedVersion {
  readonly served: ServedVersion;
  readonly contract: ServingContract;
}

export interface VersionSource {
  /** @throws SerinError when there is no such version, or it cannot be served as its manifest says */
  load(model: string, version: number): Promise<LoadedVersion>;
}

export interface VersionSourceDeps {
  readonly db: Db;
  readonly blobs: Pick<BlobStore, 'localPath'>;
  readonly loader: ModelLoader;
  /** The same input for the same arguments, so that versions which share it check a request once. @param featureSet `name@version` */
  readonly inputOf: (project: Pick<ProjectVersion, 'digest' | 'spec'>, featureSet: string) => FeatureInput;
}

/** Versions as the registry has them: the manifest, the project it was made with, the model file by its digest. */
export function createVersionSource({ db, blobs, loader, inputOf }: VersionSourceDeps): VersionSource {
  return {
    async load(model, version) {
      const registered = await getVersion(db, model, version);
      const { manifest } = registered;
      const project = await getProjectVersion(db, manifest.project, manifest.projectDigest);
      const declared = declaredModel(project.spec, registered);
      const input = inputOf(project, manifest.featureSet);
      refuseOtherColumns(registered, input.columns);
      return {
        served: {
          model,
          version,
          kind: manifest.kind,
          featureSet: manifest.featureSet,
          featureNames: manifest.featureNames,
          input,
          scorer: await loadScorer(registered, project.spec, declared, { blobs, loader }),
          personal: personalDataOf(project.spec, manifest.featureSet),
          ...postProcessingOf(manifest),
          ...servingOf(manifest, declared),
        },
        contract: {
          latencyBudgetMsP99: declared.latencyBudgetMsP99,
          logSampleRate: declared.logSampleRate,
          ...(declared.serving?.deadlineMs !== undefined && { deadlineMs: declared.serving.deadlineMs }),
          ...(declared.serving?.fallback !== undefined && { fallback: declared.serving.fallback }),
        },
      };
    },
  };
}

/** A version that takes this many times the promised latency is not waited for any longer, unless its contract says otherwise. */
const TIMEOUT_PER_BUDGET = 5;

/** What its contract says of the version itself. A rule is always asked and always waited for. */
function servingOf(
  { kind, featureNames }: ModelVersion['manifest'],
  { latencyBudgetMsP99, serving = {} }: ModelSpec,
): Pick<ServedVersion, 'timeoutMs' | 'mandatory'> {
  if (kind === 'rule') return {};
  const { timeoutMs = TIMEOUT_PER_BUDGET * latencyBudgetMsP99, mandatory = [] } = serving;
  const columns = mandatory.map((name) => featureNames.indexOf(name)).filter((column) => column >= 0);
  return { timeoutMs, ...(columns.length > 0 && { mandatory: columns }) };
}

function declaredModel(spec: ProjectSpec, { manifest }: ModelVersion): ModelSpec {
  const declared = spec.models.find((each) => each.name === manifest.model);
  if (declared) return declared;
  throw new SerinError(
    'REFERENCE_MISSING',
    `the project ${spec.name} (${manifest.projectDigest}) declares no model "${manifest.model}"`,
  );
}

function refuseOtherColumns({ manifest }: ModelVersion, columns: readonly string[]): void {
  const at = manifest.featureNames.findIndex((name, i) => columns[i] !== name);
  if (at === -1 && columns.length === manifest.featureNames.length) return;
  const position = at === -1 ? manifest.featureNames.length : at;
  throw new SerinError(
    'MODEL_FILE_INVALID',
    `${manifest.model} v${manifest.version}: its feature ${position} is "${manifest.featureNames[position] ?? 'none'}", ` +
      `but ${manifest.featureSet} has "${columns[position] ?? 'none'}" there`,
  );
}

async function loadScorer(
  { manifest }: ModelVersion,
  spec: ProjectSpec,
  declared: ModelSpec,
  { blobs, loader }: Pick<VersionSourceDeps, 'blobs' | 'loader'>,
): Promise<Scorer> {
  if (manifest.kind === 'rule')
    return createRuleModel(declared.rule.expression, featureFields(spec, manifest.featureSet));
  const name = `${manifest.model} v${manifest.version}`;
  if (!manifest.modelFile) throw new SerinError('MODEL_FILE_INVALID', `${name}: its manifest names no model file`);
  return loadOnnxScorer(loader, {
    name,
    path: await blobs.localPath(manifest.modelFile),
    expected: trainedSignature(manifest.featureNames.length),
    ...(manifest.goldens && { goldens: manifest.goldens }),
  });
}
