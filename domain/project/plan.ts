/**
 * The plan of an apply: what changes, what must be built anew, and what is refused because somebody uses it. A definition
 * in use never changes under its users; its change is a new version beside it.
 */
import { type DefinitionChange, type DefinitionKind, diffProjects, type Effect } from './diff.ts';
import { type ProjectSpec, versioned } from './spec.ts';
import type { Use, UsedKind } from './uses.ts';

export interface PlannedChange extends Omit<DefinitionChange, 'effect'> {
  /** `breaking`: refused, since it would change or take away what its users read. */
  readonly effect: Effect | 'breaking';
  /** Who uses it: `flight-delay v2 (production)`. */
  readonly usedBy: readonly string[];
  /** One sentence that says all of it, with the way out where it is refused. */
  readonly sentence: string;
}

export interface ProjectPlan {
  readonly project: string;
  /** Whether it was never applied before. */
  readonly isNew: boolean;
  readonly changes: readonly PlannedChange[];
  /** Views (`name@version`) to materialise afterwards: their source may have a past. */
  readonly backfill: readonly string[];
  /** Whether `apply` refuses it. */
  readonly refused: boolean;
}

export function planProject(before: ProjectSpec | null, after: ProjectSpec, uses: readonly Use[]): ProjectPlan {
  const changes = diffProjects(before, after).map((change) => plannedChange(change, uses, before, after));
  const known = new Set(before?.sources.map(({ name }) => name));
  const backfill = changes
    .filter(({ kind, effect }) => kind === 'view' && (effect === 'backfill' || effect === 'added'))
    .map(({ id }) => id)
    .filter((id) => known.has(after.views.find((view) => versioned(view) === id)?.source ?? ''));
  return {
    project: after.name,
    isNew: before === null,
    changes,
    backfill,
    refused: changes.some(({ effect }) => effect === 'breaking'),
  };
}

function plannedChange(
  change: DefinitionChange,
  uses: readonly Use[],
  before: ProjectSpec | null,
  after: ProjectSpec,
): PlannedChange {
  const all = isUsable(change.kind) ? uses.filter(({ kind, id }) => kind === change.kind && id === change.id) : [];
  const inTheWay =
    change.effect === 'backfill' ? all : change.effect === 'removed' ? all.filter(({ live }) => live) : [];
  const usedBy = [...new Set((inTheWay.length > 0 ? inTheWay : all).map(({ by }) => by))];
  const effect = inTheWay.length > 0 ? 'breaking' : change.effect;
  const head = `${KIND_NAMES[change.kind]} ${change.id}`;
  const what = change.details.length === 0 ? '' : `: ${change.details.join('; ')}`;
  return {
    ...change,
    effect,
    usedBy,
    sentence: `${head}${what} — ${consequence(change, effect, usedBy, before, after)}`,
  };
}

function isUsable(kind: DefinitionKind): kind is UsedKind {
  return kind === 'source' || kind === 'entity' || kind === 'view' || kind === 'featureSet';
}

const KIND_NAMES: Readonly<Record<DefinitionKind, string>> = {
  source: 'source',
  entity: 'entity',
  view: 'view',
  featureSet: 'feature set',
  spine: 'spine',
  label: 'label',
  model: 'model',
};

function consequence(
  { kind, id, effect: wanted }: DefinitionChange,
  effect: PlannedChange['effect'],
  usedBy: readonly string[],
  before: ProjectSpec | null,
  after: ProjectSpec,
): string {
  switch (effect) {
    case 'breaking': {
      const verb = usedBy.length === 1 ? 'uses' : 'use';
      const who = `breaking: ${usedBy.join(', ')} ${verb} it`;
      return wanted === 'removed'
        ? `${who}; keep it until no live version reads it`
        : `${who}; leave it as it is and declare ${successor(kind, id, [before, after])}`;
    }
    case 'added':
      return 'added';
    case 'removed':
      return 'removed';
    case 'metadata':
      return 'metadata only: nothing is computed otherwise';
    case 'next-use':
      return NEXT_USE[kind];
    case 'backfill':
      return kind === 'view'
        ? `needs backfill: what is computed changes, materialise it`
        : 'what is computed from it changes; nothing uses it yet';
  }
}

const NEXT_USE: Readonly<Record<DefinitionKind, string>> = {
  source: 'holds for the rows that come from now on; rows in the log stay as they are',
  entity: 'holds from now on',
  view: 'holds from now on',
  featureSet: 'holds from now on',
  spine: 'holds for the next dataset',
  label: 'holds for the next dataset',
  model: 'holds for the next training and rollout',
};

type Versioned = Parameters<typeof versioned>[0];

/** The next free name for a changed definition: the next version, or another name where there are no versions. */
function successor(kind: DefinitionKind, id: string, specs: readonly (ProjectSpec | null)[]): string {
  const [name = id] = id.split('@');
  if (kind !== 'view' && kind !== 'featureSet') return `another ${KIND_NAMES[kind]}, such as ${name}_2`;
  const versions = specs.flatMap((spec): readonly Versioned[] =>
    spec === null ? [] : kind === 'view' ? spec.views : spec.featureSets,
  );
  const taken = versions.filter((each) => each.name === name).map(({ version }) => version);
  return `${name}@${Math.max(0, ...taken) + 1}`;
}
