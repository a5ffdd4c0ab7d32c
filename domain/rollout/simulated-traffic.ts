/** Seeded traffic for tests of the analyser: the same seed gives the same stream. */
export type Random = () => number;

/** Mulberry32: small, uniform in [0, 1), good enough to simulate with. */
export function randomFrom(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** A standard normal number (Box & Muller). */
export function normal(random: Random): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}

/** Successes of n trials: by the gaps between them where they are few, by the normal approximation where they are many. */
export function binomial(random: Random, n: number, p: number): number {
  if (n === 0 || p <= 0) return 0;
  if (p >= 1) return n;
  if (n * p > 30 && n * (1 - p) > 30)
    return Math.min(n, Math.max(0, Math.round(n * p + Math.sqrt(n * p * (1 - p)) * normal(random))));
  const logFailure = Math.log(1 - p);
  let successes = 0;
  for (
    let trial = Math.floor(Math.log(1 - random()) / logFailure) + 1;
    trial <= n;
    trial += Math.floor(Math.log(1 - random()) / logFailure) + 1
  ) {
    successes++;
  }
  return successes;
}
