import { SerinError } from '../domain/errors.ts';
import type { RolloutSpec } from '../domain/rollout/state.ts';
import type { Db } from './database.ts';
import { getProjectVersion } from './projects.ts';
import { getModel, getVersion } from './registry.ts';

/** The rollout of a version as it would start now: its policy is the one its project declares today. */
export async function readRolloutSpec(
  db: Db,
  { model, version }: { model: string; version: number },
): Promise<RolloutSpec> {
  const { project, projectDigest } = await getModel(db, model);
  const { spec } = await getProjectVersion(db, project, projectDigest);
  const contract = spec.models.find(({ name }) => name === model);
  if (contract === undefined)
    throw new SerinError('MODEL_NOT_FOUND', `the project "${project}" declares no model "${model}" any more`);
  const { author } = await getVersion(db, model, version);
  return { rolloutId: rolloutIdOf(model, version), model, version, author, policy: contract.rollout };
}

/** Also the id of the workflow that carries the rollout. */
export function rolloutIdOf(model: string, version: number): string {
  return `rollout/${model}/${version}`;
}
