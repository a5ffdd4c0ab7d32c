/**
 * The distribution functions behind the tests of this folder. Tails are computed directly, never as 1 − (the other tail), so
 * that small p-values keep their relative accuracy. Errors are around 1e-13 relative unless a function says otherwise.
 *
 * Sources: Abramowitz & Stegun (1964) 6.1.41, 6.5.29, 26.5; Lentz's continued fractions as in Thompson & Barnett (1986);
 * Loader, "Fast and accurate computation of binomial probabilities" (2000) for deviances without cancellation; Kolmogorov's
 * two series as in Marsaglia, Tsang & Wang (2003).
 */

const HALF_LN_2PI = 0.9189385332046728;
const EPSILON = 1e-16;
const TINY = 1e-300;
/** Continued fractions need about √n steps at n degrees of freedom; this covers samples of some 10⁹ rows. */
const MOST_STEPS = 200_000;

/**
 * What Stirling's formula leaves out: δ(x) = ln Γ(x) − ((x−½) ln x − x + ½ ln 2π), x > 0.
 * Asymptotic series (A&S 6.1.41) from 10 on, the recurrence δ(x) = δ(x+1) + (x+½) ln(1+1/x) − 1 below.
 */
export function stirlingError(x: number): number {
  let shift = 0;
  let z = x;
  while (z < 10) {
    shift += (z + 0.5) * Math.log1p(1 / z) - 1;
    z += 1;
  }
  const r = 1 / (z * z);
  const series =
    1 / 12 -
    r *
      (1 / 360 -
        r * (1 / 1260 - r * (1 / 1680 - r * (1 / 1188 - r * (691 / 360360 - r * (1 / 156 - r * (3617 / 122400)))))));
  return shift + series / z;
}

/** ln Γ(x), x > 0. */
export function logGamma(x: number): number {
  let product = 1;
  let z = x;
  while (z < 10) {
    product *= z;
    z += 1;
  }
  return (z - 0.5) * Math.log(z) - z + HALF_LN_2PI + stirlingError(z) - Math.log(product);
}

/** x ln(x/m) + m − x without cancellation near x = m (Loader 2000, `bd0`). */
function deviance(x: number, m: number): number {
  if (x === 0) return m;
  if (Math.abs(x - m) >= 0.1 * (x + m)) return x * Math.log(x / m) + m - x;
  const v = (x - m) / (x + m);
  let total = (x - m) * v;
  let term = 2 * x * v;
  for (let j = 1; j < 1000; j++) {
    term *= v * v;
    const next = total + term / (2 * j + 1);
    if (next === total) break;
    total = next;
  }
  return total;
}

/**
 * Γ(n+1)/(Γ(x+1)Γ(n−x+1)) pˣ qⁿ⁻ˣ with q = 1 − p, for real 0 ≤ x ≤ n: the binomial probability where x and n are integers.
 */
export function binomialMass(x: number, n: number, p: number, q = 1 - p): number {
  if (p === 0) return x === 0 ? 1 : 0;
  if (q === 0) return x === n ? 1 : 0;
  if (x === 0) return Math.exp(n * (p < 0.5 ? Math.log1p(-p) : Math.log(q)));
  if (x === n) return Math.exp(n * (q < 0.5 ? Math.log1p(-q) : Math.log(p)));
  const rest = n - x;
  const log = stirlingError(n) - stirlingError(x) - stirlingError(rest) - deviance(x, n * p) - deviance(rest, n * q);
  return Math.exp(log) * Math.sqrt(n / (2 * Math.PI * x * rest));
}

/** Upper tail of the gamma distribution: Q(a, x) = Γ(a, x)/Γ(a), a > 0, x ≥ 0. */
export function gammaUpper(a: number, x: number): number {
  if (x <= 0) return 1;
  if (x === Infinity) return 0;
  return x < a + 1 ? 1 - gammaLowerSeries(a, x) : gammaUpperFraction(a, x);
}

/** Lower tail of the gamma distribution: P(a, x) = 1 − Q(a, x). */
export function gammaLower(a: number, x: number): number {
  if (x <= 0) return 0;
  if (x === Infinity) return 1;
  return x < a + 1 ? gammaLowerSeries(a, x) : 1 - gammaUpperFraction(a, x);
}

/** xᵃ e⁻ˣ / Γ(a+1) */
function gammaFactor(a: number, x: number): number {
  return Math.exp(-stirlingError(a) - deviance(a, x)) / Math.sqrt(2 * Math.PI * a);
}

function gammaLowerSeries(a: number, x: number): number {
  let term = 1;
  let total = 1;
  for (let k = 1; k < MOST_STEPS; k++) {
    term *= x / (a + k);
    total += term;
    if (term < total * EPSILON) break;
  }
  return total * gammaFactor(a, x);
}

function gammaUpperFraction(a: number, x: number): number {
  let b = x + 1 - a;
  let c = 1 / TINY;
  let d = 1 / b;
  let h = d;
  for (let k = 1; k < MOST_STEPS; k++) {
    const an = -k * (k - a);
    b += 2;
    d = an * d + b;
    if (Math.abs(d) < TINY) d = TINY;
    c = b + an / c;
    if (Math.abs(c) < TINY) c = TINY;
    d = 1 / d;
    const step = d * c;
    h *= step;
    if (Math.abs(step - 1) < EPSILON * 4) break;
  }
  return h * a * gammaFactor(a, x);
}

/**
 * Regularised incomplete beta I_x(a, b), a and b > 0.
 * @param y 1 − x, where the caller knows it more exactly than the subtraction does
 */
export function betaLower(a: number, b: number, x: number, y = 1 - x): number {
  if (x <= 0) return 0;
  if (y <= 0) return 1;
  return x < (a + 1) / (a + b + 2) ? betaFraction(a, b, x, y) : 1 - betaFraction(b, a, y, x);
}

/** 1 − I_x(a, b). */
export function betaUpper(a: number, b: number, x: number, y = 1 - x): number {
  return betaLower(b, a, y, x);
}

function betaFraction(a: number, b: number, x: number, y: number): number {
  let c = 1;
  let d = 1 - ((a + b) * x) / (a + 1);
  if (Math.abs(d) < TINY) d = TINY;
  d = 1 / d;
  let h = d;
  for (let k = 1; k < MOST_STEPS; k++) {
    const even = (k * (b - k) * x) / ((a + 2 * k - 1) * (a + 2 * k));
    d = 1 + even * d;
    if (Math.abs(d) < TINY) d = TINY;
    c = 1 + even / c;
    if (Math.abs(c) < TINY) c = TINY;
    d = 1 / d;
    h *= d * c;
    const odd = (-(a + k) * (a + b + k) * x) / ((a + 2 * k) * (a + 2 * k + 1));
    d = 1 + odd * d;
    if (Math.abs(d) < TINY) d = TINY;
    c = 1 + odd / c;
    if (Math.abs(c) < TINY) c = TINY;
    d = 1 / d;
    const step = d * c;
    h *= step;
    if (Math.abs(step - 1) < EPSILON * 4) break;
  }
  // xᵃ yᵇ / (a B(a, b)), by way of the binomial mass at a of a+b
  return h * binomialMass(a, a + b, x, y) * (b / (a + b));
}

/** Complementary error function, any real x. */
export function erfc(x: number): number {
  return x >= 0 ? gammaUpper(0.5, x * x) : 1 + gammaLower(0.5, x * x);
}

export function normalCdf(z: number): number {
  return 0.5 * erfc(-z * Math.SQRT1_2);
}

/** P(|Z| ≥ |z|) for a standard normal Z. */
export function normalTwoSided(z: number): number {
  return erfc(Math.abs(z) * Math.SQRT1_2);
}

/** z with Φ(z) = p; ±Infinity at 0 and 1. */
export function normalQuantile(p: number): number {
  if (p <= 0) return -Infinity;
  if (p >= 1) return Infinity;
  if (p === 0.5) return 0;
  const tail = Math.min(p, 1 - p);
  const z = bisect(0, 40, (t) => 0.5 * erfc(t * Math.SQRT1_2) > tail);
  return p < 0.5 ? -z : z;
}

/** P(X ≥ x) of χ² with `dof` degrees of freedom; with none, all mass is at 0. */
export function chiSquareUpper(x: number, dof: number): number {
  if (dof === 0) return x > 0 ? 0 : 1;
  return gammaUpper(dof / 2, x / 2);
}

export function chiSquareQuantile(p: number, dof: number): number {
  if (dof === 0 || p <= 0) return 0;
  let high = dof + 10;
  while (gammaLower(dof / 2, high / 2) < p && high < 1e300) high *= 2;
  return bisect(0, high, (x) => gammaLower(dof / 2, x / 2) < p);
}

/** P(|T| ≥ |t|) of Student's t with `df` > 0 degrees of freedom, whole or not. */
export function studentTwoSided(t: number, df: number): number {
  const t2 = t * t;
  return betaLower(df / 2, 0.5, df / (df + t2), t2 / (df + t2));
}

/** t > 0 with P(|T| ≤ t) = level. */
export function studentCritical(level: number, df: number): number {
  const tail = 1 - level;
  let high = 2;
  while (studentTwoSided(high, df) > tail && high < 1e300) high *= 2;
  return bisect(0, high, (t) => studentTwoSided(t, df) > tail);
}

/** x with I_x(a, b) = p. */
export function betaQuantile(p: number, a: number, b: number): number {
  if (p <= 0) return 0;
  if (p >= 1) return 1;
  return bisect(0, 1, (x) => betaLower(a, b, x) < p);
}

/** P(X ≤ k) of a binomial with n trials. */
export function binomialCdf(k: number, n: number, p: number): number {
  if (k < 0) return 0;
  if (k >= n) return 1;
  return betaUpper(k + 1, n - k, p);
}

/**
 * Q(x) = 2 Σ (−1)ᵏ⁻¹ exp(−2k²x²): the limit law of √(nm/(n+m))·D. Below 1 the theta-transformed series converges faster.
 */
export function kolmogorovUpper(x: number): number {
  if (x <= 0) return 1;
  if (x < 1) {
    const t = -(Math.PI * Math.PI) / (8 * x * x);
    let total = 0;
    for (let k = 1; k <= 19; k += 2) total += Math.exp(k * k * t);
    return 1 - (Math.sqrt(2 * Math.PI) / x) * total;
  }
  let total = 0;
  let sign = 1;
  for (let k = 1; k <= 20; k++) {
    const term = Math.exp(-2 * k * k * x * x);
    total += sign * term;
    if (term < EPSILON * total) break;
    sign = -sign;
  }
  return 2 * total;
}

/** The point between `low` and `high` where `below` turns false, to the last bit or two. */
function bisect(low: number, high: number, below: (x: number) => boolean): number {
  let a = low;
  let b = high;
  for (let k = 0; k < 200; k++) {
    const middle = a + (b - a) / 2;
    if (middle <= a || middle >= b) break;
    if (below(middle)) a = middle;
    else b = middle;
  }
  return a + (b - a) / 2;
}
