import { checkReferences } from './check-references.ts';
import { readProjectSpec } from './check-structure.ts';
import type { ProjectSpec } from './spec.ts';

/**
 * A project from outside (a project file, HTTP, a stored version), checked whole: the shape and every name, type and
 * reference. Trainer defaults are filled in; nothing else is added or changed.
 * @throws SerinError SPEC_INVALID, DUPLICATE_NAME, REFERENCE_MISSING, REFERENCE_CYCLE, TRAINING_INVALID; the detail names the
 *   path, the value and the rule, and the nearest name where one is misspelt
 */
export function checkProjectSpec(value: unknown): ProjectSpec {
  const spec = readProjectSpec(value);
  checkReferences(spec);
  return spec;
}
