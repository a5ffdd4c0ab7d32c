import { keyTypeMismatch, refuse } from '../features/definition-rules.ts';
import { specInvalid } from '../rollout/checked-fields.ts';
import { nameOf, type Types } from './definitions.ts';
import { resolve } from './names.ts';
import type { EntitySpec } from './spec.ts';

/**
 * A key, given by columns or request fields, in the order and of the types of the entity's parts.
 * @throws SerinError SPEC_INVALID, REFERENCE_MISSING or KEY_TYPE_MISMATCH
 */
export function checkKey(
  key: readonly string[],
  types: Types,
  entity: Pick<EntitySpec, 'name' | 'keys'>,
  path: string,
  what: string,
): void {
  if (key.length !== entity.keys.length) {
    const parts = entity.keys.length === 0 ? 'it has none' : entity.keys.map(nameOf).join(', ');
    throw specInvalid(path, key, `it must have one ${what} for each key part of ${entity.name}: ${parts}`);
  }
  for (const [index, part] of entity.keys.entries()) {
    const name = key[index] ?? '';
    const type = resolve(name, types, `${path}[${index}]`, what);
    refuse(keyTypeMismatch(part, { name, type }), `${path}[${index}]`);
  }
}
