import { armOf, bucketOf } from '../../domain/rollout/assignment.ts';
import type { ServedVersion } from '../model/served-version.ts';
import type { RouteEntry, Rung } from '../routing/route-entry.ts';
import type { Answer, Instance } from './answer.ts';

export interface Assignment {
  readonly arm: Answer['arm'];
  readonly ladder: readonly Rung[];
}

type Ladders = RouteEntry['ladders'];

/** Who is to answer an instance, and who after that. */
export class Assigner {
  readonly #entryOf: (model: string) => RouteEntry | undefined;
  /** Ladders with the fallback model's champion of their moment. */
  readonly #extended = new WeakMap<RouteEntry, { readonly by: ServedVersion; readonly ladders: Ladders }>();

  constructor(entryOf: (model: string) => RouteEntry | undefined) {
    this.#entryOf = entryOf;
  }

  assign(entry: RouteEntry, { unit, override }: Instance): Assignment {
    const { route } = entry;
    const ladders = entry.contract.fallback === undefined ? entry.ladders : this.#withFallback(entry);
    if (override !== undefined) {
      const ladder = 'arm' in override ? ladders[override.arm] : ladderOf(entry, ladders.champion, override.version);
      return { arm: 'override', ladder };
    }
    const isCanary = entry.canary !== null && armOf(bucketOf(route.salt, unit), route.canaryWeight / 100) === 'canary';
    const arm = isCanary ? 'canary' : 'champion';
    return { arm, ladder: ladders[arm] };
  }

  /**
   * The other model's champion stands right above the rule. It is looked up when it is needed: its route changes on its own,
   * and one that is not loaded is left out.
   */
  #withFallback(entry: RouteEntry): Ladders {
    const served = this.#entryOf(entry.contract.fallback!)?.champion;
    if (served === undefined) return entry.ladders;
    const known = this.#extended.get(entry);
    if (known?.by === served) return known.ladders;
    const above = (ladder: readonly Rung[]): Rung[] => {
      const rule = ladder.findIndex(({ name }) => name === 'rule');
      return ladder.toSpliced(rule < 0 ? ladder.length : rule, 0, { name: 'fallback', served });
    };
    const ladders = { champion: above(entry.ladders.champion), canary: above(entry.ladders.canary) };
    this.#extended.set(entry, { by: served, ladders });
    return ladders;
  }
}

/** A version that is not loaded is nobody's to answer: whoever takes the request in has refused it, or the route has moved on. */
function ladderOf({ loaded }: RouteEntry, below: readonly Rung[], version: number): readonly Rung[] {
  const served = loaded.find((each) => each.version === version);
  if (served === undefined) return below;
  return [{ name: 'override', served }, ...below.filter((rung) => rung.served !== served)];
}
