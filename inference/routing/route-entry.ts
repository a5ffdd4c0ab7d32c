import type { Route } from '../../db/routes.ts';
import type { ServedVersion } from '../model/served-version.ts';

/**
 * Who gave an answer: the arm the unit was assigned to, or the rung of the fallback ladder it came down to. `fallback` is the
 * champion of another model, `override` the version that a tester asked for.
 */
export type RungName = 'override' | 'canary' | 'champion' | 'last_known_good' | 'fallback' | 'rule' | 'constant';

export interface Rung {
  readonly name: RungName;
  readonly served: ServedVersion;
}

/** What the contract of the model asks of its answers. */
export interface ServingContract {
  readonly latencyBudgetMsP99: number;
  /** Share of champion answers that are logged. */
  readonly logSampleRate: number;
  /** Milliseconds from its arrival within which a request is answered or refused; absent: only a full queue refuses. */
  readonly deadlineMs?: number;
  /** The model whose champion answers when no version of this one does; absent: the rule does. */
  readonly fallback?: string;
}

/** The route of one model with everything it refers to loaded. Never changed, only replaced. */
export interface RouteEntry {
  readonly route: Route;
  readonly contract: ServingContract;
  readonly champion: ServedVersion;
  readonly canary: ServedVersion | null;
  readonly shadow: ServedVersion | null;
  readonly rule: ServedVersion;
  /** Rungs by the arm a unit is assigned to, best first; a version appears once, the rule always. A fallback model is not among them (`Assigner`). */
  readonly ladders: { readonly champion: readonly Rung[]; readonly canary: readonly Rung[] };
  /** The answer when every rung has failed: what the rule says when it knows nothing. */
  readonly constantScore: number;
  readonly loaded: readonly ServedVersion[];
}

export interface EntryParts {
  readonly route: Route;
  readonly contract: ServingContract;
  readonly champion: ServedVersion;
  readonly lastKnownGood: ServedVersion;
  readonly canary: ServedVersion | null;
  readonly shadow: ServedVersion | null;
  readonly rule: ServedVersion;
}

export async function buildEntry({ lastKnownGood, ...parts }: EntryParts): Promise<RouteEntry> {
  const { champion, canary, shadow, rule } = parts;
  const below: Rung[] = [
    { name: 'champion', served: champion },
    { name: 'last_known_good', served: lastKnownGood },
    { name: 'rule', served: rule },
  ];
  const versions = [champion, lastKnownGood, canary, shadow, rule].filter((served) => served !== null);
  return {
    ...parts,
    ladders: {
      champion: withoutRepeats(below),
      canary: withoutRepeats(canary ? [{ name: 'canary', served: canary }, ...below] : below),
    },
    constantScore: await scoreOfNothing(rule),
    loaded: [...new Set(versions)],
  };
}

/** A version that failed is not asked again under another name. */
function withoutRepeats(rungs: readonly Rung[]): Rung[] {
  return rungs.filter(({ served }, at) => rungs.findIndex((rung) => rung.served === served) === at);
}

async function scoreOfNothing(rule: ServedVersion): Promise<number> {
  const [score = NaN] = await rule.scorer.score(new Float64Array(rule.scorer.featureCount).fill(NaN), 1);
  return Number.isFinite(score) ? score : 0;
}
