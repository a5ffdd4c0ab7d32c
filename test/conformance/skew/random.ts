/** Seeded randomness: the same seed gives the same world on every machine. */
export interface Random {
  /** [0, 1) */
  unit(): number;
  /** A whole number in [from, to], both included. */
  between(from: number, to: number): number;
  /** True with this probability. */
  chance(probability: number): boolean;
  pick<T>(items: readonly T[]): T;
}

/** sfc32 (Chris Doty-Humphrey, PractRand): 128 bits of state, passes PractRand and BigCrush, and is a few additions a number. */
export function createRandom(seed: number, stream = 0): Random {
  let [a, b, c, counter] = [seed | 0, Math.imul(seed, 0x9e3779b1) ^ stream, (stream + 0x85ebca6b) | 0, 1];
  const next = (): number => {
    const sum = (((a + b) | 0) + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + sum) | 0;
    return (sum >>> 0) / 0x100000000;
  };
  // the first numbers still show the seed
  for (let i = 0; i < 15; i++) next();
  const unit = (): number => (Math.floor(next() * 0x200000) * 0x100000000 + Math.floor(next() * 0x100000000)) / 2 ** 53;
  const between = (from: number, to: number): number => from + Math.floor(unit() * (to - from + 1));
  return {
    unit,
    between,
    chance: (probability) => next() < probability,
    pick: (items) => items[between(0, items.length - 1)]!,
  };
}

/** Positions 0…count − 1 with weights 1/(i + 1): a few are busy, most are rare. */
export function createZipf(count: number): (random: Random) => number {
  const upTo = new Float64Array(count);
  let total = 0;
  for (let i = 0; i < count; i++) upTo[i] = total += 1 / (i + 1);
  return (random) => {
    const wanted = random.unit() * total;
    let [low, high] = [0, count - 1];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (upTo[middle]! <= wanted) low = middle + 1;
      else high = middle;
    }
    return low;
  };
}
