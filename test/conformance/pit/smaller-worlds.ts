/** Drafts that are one step smaller. Shrinking by fast-check leaves what stands behind the fault in a list; this takes it away. */
import type { WorldDraft } from './worlds.ts';

/** Lists of which one element must stay. */
const NEVER_EMPTY: readonly string[] = ['features', 'windows'];
/** Fields that may be null. */
const OPTIONAL: readonly string[] = ['ttl', 'split', 'censor', 'delay', 'bucket', 'fallback'];

export function* smallerWorlds(draft: WorldDraft): Generator<WorldDraft> {
  yield* smaller(draft) as Generator<WorldDraft>;
}

/** @returns the smallest draft that still fails, when no single step keeps it failing */
export async function smallestWorld(
  draft: WorldDraft,
  fails: (draft: WorldDraft) => Promise<boolean>,
): Promise<WorldDraft> {
  for (const candidate of smallerWorlds(draft)) {
    if (await fails(candidate)) return smallestWorld(candidate, fails);
  }
  return draft;
}

function* smaller(value: unknown, name = ''): Generator {
  if (Array.isArray(value)) {
    // lists of numbers are positions: they stay as they are
    const isList = value.every((item) => typeof item === 'object');
    const least = NEVER_EMPTY.includes(name) ? 1 : 0;
    for (let i = 0; isList && value.length > least && i < value.length; i++) yield value.toSpliced(i, 1);
    for (let i = 0; isList && i < value.length; i++) for (const item of smaller(value[i])) yield value.with(i, item);
    return;
  }
  if (typeof value !== 'object' || value === null) return;
  for (const [field, part] of Object.entries(value)) {
    if (part === true) yield { ...value, [field]: false };
    // a label's delay is a number, a source's may be absent
    else if (part !== null && OPTIONAL.includes(field) && !('horizon' in value && field === 'delay')) {
      yield { ...value, [field]: null };
    }
    for (const less of smaller(part, field)) yield { ...value, [field]: less };
  }
}
