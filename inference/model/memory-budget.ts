/** A loaded model as the memory budget sees it. */
export interface Holding {
  readonly key: string;
  readonly bytes: number;
  /** Larger is later; a counter will do. */
  readonly usedAt: number;
  /** Stays whatever it costs: champions, last known goods, whatever a route names. */
  readonly pinned: boolean;
}

/**
 * Which models must go so that all others fit, the least recently used first.
 * @param held all that is loaded, the new one (pinned) included
 * @param maxBytes null: no budget
 * @returns their keys; null when letting go of all that may go is not enough
 */
export function leastUsedBeyond(held: readonly Holding[], maxBytes: number | null): string[] | null {
  if (maxBytes === null) return [];
  let excess = held.reduce((sum, { bytes }) => sum + bytes, 0) - maxBytes;
  const victims: string[] = [];
  for (const { key, bytes } of held.filter(({ pinned }) => !pinned).toSorted((a, b) => a.usedAt - b.usedAt)) {
    if (excess <= 0) break;
    victims.push(key);
    excess -= bytes;
  }
  return excess <= 0 ? victims : null;
}

/** @param mib of the configuration; 0 is no budget */
export function budgetBytes(mib: number): number | null {
  return mib === 0 ? null : mib * 2 ** 20;
}
