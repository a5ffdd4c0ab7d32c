import { createHash } from 'node:crypto';
import type { Kysely } from 'kysely';
import { canonicalJson } from '../domain/canonical-json.ts';
import type { ProjectSpec } from '../domain/project/spec.ts';
import { RULE_VERSION } from '../domain/registry/manifest.ts';
import { ruleManifest } from '../domain/registry/rule-manifest.ts';
import { appendDecision } from './decisions.ts';
import { planApply, refusePlan } from './project-plan.ts';
import { putProject } from './projects.ts';
import { putModel, registerRule } from './registry.ts';
import { createRoute } from './routes.ts';
import type { Tables } from './schema.ts';

/**
 * Makes a checked spec the current version of its project: its models exist, their rule baselines answer, all or nothing.
 * Applying the same spec again changes nothing but the record's absence: one record per digest and person. A definition that
 * a version, the online store or a log uses does not change under them.
 * @throws SerinError DEFINITION_IN_USE
 */
export async function applyProject(
  db: Kysely<Tables>,
  { spec, bundleSha256, by, at }: { spec: ProjectSpec; bundleSha256: string | null; by: string; at: number },
): Promise<{ digest: string; created: boolean }> {
  const digest = projectDigest(spec);
  return db.transaction().execute(async (tx) => {
    const plan = await planApply(tx, spec, { lock: true });
    refusePlan(plan);
    const { created } = await putProject(tx, { spec, digest, bundleSha256, by, at });
    for (const model of spec.models) {
      await putModel(tx, { name: model.name, project: spec.name, projectDigest: digest });
      const manifest = ruleManifest(spec, model, { projectDigest: digest, author: by });
      await registerRule(tx, { manifest, sha256: digestOf(manifest), at });
      await createRoute(tx, { model: model.name, champion: RULE_VERSION, at });
    }
    if (created) {
      await appendDecision(tx, {
        subject: `project/${spec.name}`,
        kind: 'applied',
        actor: by,
        reason: `${spec.models.length} models, ${spec.views.length} views, ${spec.sources.length} sources`,
        evidenceSha256: digest,
        payload: {
          digest,
          bundleSha256,
          changes: plan.isNew ? [] : plan.changes.map(({ sentence }) => sentence),
        },
        idempotencyKey: `apply/${spec.name}/${digest}`,
        decidedAt: at,
      });
    }
    return { digest, created };
  });
}

export function projectDigest(spec: ProjectSpec): string {
  return digestOf(spec);
}

function digestOf(value: unknown): string {
  return createHash('sha256').update(canonicalJson(value)).digest('hex');
}
