/**
 * The fewest items for which something still fails: takes away halves, quarters, … and at last single items, as long as
 * that goes on failing (delta debugging, Zeller and Hildebrandt 2002, in its simplest form).
 */
export async function smallestFailing<T>(
  items: readonly T[],
  fails: (items: readonly T[]) => Promise<boolean>,
  maxTrials = 400,
): Promise<readonly T[]> {
  let standing = items;
  let trials = 0;
  for (let size = Math.ceil(standing.length / 2); size >= 1;) {
    let smaller = false;
    for (let from = 0; from < standing.length && trials < maxTrials;) {
      const without = [...standing.slice(0, from), ...standing.slice(from + size)];
      trials++;
      if (await fails(without)) {
        standing = without;
        smaller = true;
      } else {
        from += size;
      }
    }
    if (trials >= maxTrials) break;
    // single items are gone through again for as long as one of them can go
    if (size === 1 && !smaller) break;
    size = size === 1 ? 1 : Math.ceil(size / 2);
  }
  return standing;
}
