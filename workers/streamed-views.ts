import type { Kysely } from 'kysely';
import { getProject, listProjects } from '../db/projects.ts';
import type { Tables } from '../db/schema.ts';
import { type ProjectSpec, versioned } from '../domain/project/spec.ts';
import { compileViewOf, type CompiledView } from '../features/kernel/compiled-view.ts';
import type { Logger } from '../platform/logger.ts';

/** A source and the views that its events go into. */
export interface StreamedSource {
  readonly source: string;
  readonly views: readonly CompiledView[];
  /** How old the newest data of each view may be. */
  readonly slaSeconds: ReadonlyMap<string, number>;
}

export interface StreamedViews {
  /** Of all projects as they are now; compiled once for each version of a project. */
  load(): Promise<readonly StreamedSource[]>;
  /** Says, once for each, that a view lies behind what the buffer still has. */
  reportGap(viewId: string, appliedSeq: number, trimmedSeq: number): void;
}

export function createStreamedViews(db: Kysely<Tables>, logger: Logger): StreamedViews {
  let known = new Map<string, { readonly digest: string; readonly sources: readonly StreamedSource[] }>();
  const reported = new Map<string, number>();
  return {
    async load() {
      const next: typeof known = new Map();
      for (const { name, digest } of await listProjects(db)) {
        const standing = known.get(name);
        if (standing?.digest === digest) {
          next.set(name, standing);
          continue;
        }
        const { spec } = await getProject(db, name);
        logger.info({ project: name, views: spec.views.map(versioned) }, 'streaming into the views of a project');
        next.set(name, { digest, sources: sourcesOf(spec) });
      }
      known = next;
      return [...known.values()].flatMap(({ sources }) => sources);
    },
    reportGap(viewId, appliedSeq, trimmedSeq) {
      if (reported.get(viewId) === appliedSeq) return;
      reported.set(viewId, appliedSeq);
      logger.error(
        { view: viewId, appliedSeq, trimmedSeq },
        'a view lies behind the buffer (was its store restored from an old copy?): materialise it again',
      );
    },
  };
}

function sourcesOf(spec: ProjectSpec): StreamedSource[] {
  return spec.sources.flatMap(({ name, freshnessSlaSeconds }) => {
    const own = spec.views.filter(({ source }) => source === name);
    if (own.length === 0) return [];
    return [
      {
        source: name,
        views: own.map((view) => compileViewOf(spec, versioned(view))),
        slaSeconds: new Map(own.map((view) => [versioned(view), view.freshnessSlaSeconds ?? freshnessSlaSeconds])),
      },
    ];
  });
}
