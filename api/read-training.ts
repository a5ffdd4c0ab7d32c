import type { Db } from '../db/database.ts';
import { getProjectVersion } from '../db/projects.ts';
import { getModel } from '../db/registry.ts';
import { SerinError } from '../domain/errors.ts';
import type { ModelSpec } from '../domain/project/spec.ts';

/** The contract of a model in the project version that declares it now. */
export async function readContract(
  db: Db,
  model: string,
): Promise<{ project: string; projectDigest: string; contract: ModelSpec }> {
  const { project, projectDigest } = await getModel(db, model);
  const { spec } = await getProjectVersion(db, project, projectDigest);
  const contract = spec.models.find(({ name }) => name === model);
  if (contract === undefined)
    throw new SerinError('MODEL_NOT_FOUND', `the project "${project}" declares no model "${model}" any more`);
  return { project, projectDigest, contract };
}

/** Where a training is declared. @throws SerinError MODEL_NOT_FOUND, TRAINING_INVALID, so that no workflow starts in vain */
export async function readTraining(
  db: Db,
  model: string,
  training: string,
): Promise<{ project: string; projectDigest: string }> {
  const { project, projectDigest, contract } = await readContract(db, model);
  if (!contract.trainings.some(({ name }) => name === training)) {
    const known = contract.trainings.map(({ name }) => name);
    throw new SerinError(
      'TRAINING_INVALID',
      `the model "${model}" has no training "${training}"; it has ${known.join(', ')}`,
      {
        fields: { field: 'body/training', value: training, known },
      },
    );
  }
  return { project, projectDigest };
}
