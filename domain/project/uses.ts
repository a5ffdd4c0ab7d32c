/** Who reads the definitions of a project: what may not change under them. */
import { type ProjectSpec, versioned } from './spec.ts';

/** A registered version of a model, and the project it was registered with. */
export interface RegisteredVersion {
  readonly model: string;
  readonly version: number;
  readonly kind: 'rule' | 'onnx';
  readonly stage: string;
  /** Named by its model's route: champion, last known good, canary or shadow. */
  readonly routed: boolean;
  /** `name@version` */
  readonly featureSet: string;
  readonly spec: ProjectSpec;
}

/** What runs or is kept, besides versions. */
export interface StoredState {
  /** Views (`name@version`) that the online store holds, fed up to a sequence number. */
  readonly onlineViews: readonly string[];
  /** Sources whose log has rows. */
  readonly loggedSources: readonly string[];
}

export type UsedKind = 'source' | 'entity' | 'view' | 'featureSet';

export interface Use {
  readonly kind: UsedKind;
  /** Its name; `name@version` of views and feature sets. */
  readonly id: string;
  /** `flight-delay v2 (production)`, or what else holds it. */
  readonly by: string;
  /** Whether it reads now: a version that is not archived, or is routed to. */
  readonly live: boolean;
}

/**
 * Uses of definitions. A rule is part of its project and changes with it, so the rule of a model that `next` still declares
 * holds on to nothing.
 */
export function usesOf(
  versions: readonly RegisteredVersion[],
  { onlineViews, loggedSources }: StoredState,
  current: ProjectSpec | null,
  next: ProjectSpec,
): Use[] {
  const declared = new Set(next.models.map(({ name }) => name));
  const ofVersions = versions
    .filter(({ kind, model }) => kind === 'onnx' || !declared.has(model))
    .flatMap(usesOfVersion);
  const ofViews = onlineViews.flatMap((id) => usesOfView(current, id, 'the online store', false));
  const ofLogs = loggedSources.map((id): Use => ({ kind: 'source', id, by: 'its log of events', live: false }));
  return [...ofVersions, ...ofViews, ...ofLogs];
}

function usesOfVersion({ model, version, stage, routed, featureSet, spec }: RegisteredVersion): Use[] {
  const by = `${model} v${version} (${stage})`;
  const live = routed || stage !== 'archived';
  const set = spec.featureSets.find((each) => versioned(each) === featureSet);
  const views = [...new Set((set?.views ?? []).map(({ view }) => view))];
  return [
    { kind: 'featureSet', id: featureSet, by, live },
    ...views.flatMap((view) => usesOfView(spec, view, by, live)),
  ];
}

function usesOfView(spec: ProjectSpec | null, id: string, by: string, live: boolean): Use[] {
  const view = spec?.views.find((each) => versioned(each) === id);
  return [
    { kind: 'view', id, by, live },
    ...(view === undefined
      ? []
      : [
          { kind: 'source' as const, id: view.source, by, live },
          { kind: 'entity' as const, id: view.entity, by, live },
        ]),
  ];
}
