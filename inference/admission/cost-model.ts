/** Of one observation to the next: about the last hundred batches count. */
const DECAY = 0.99;
/** The best of late is forgotten faster. */
const LEAST_DECAY = 0.98;
/** An observation this many times what was expected counts as much as this, unless it is the third in a row. */
const OUTLIER = 3;
const SURPRISES_BELIEVED = 3;
/** What a timer cannot tell from nothing is no surprise. */
const NOISE_MS = 0.25;
/** How much the standing slope weighs, as a share of the square of the mean size: batches that differ by a tenth outweigh it. */
const SLOPE_INERTIA = 0.01;
/** Where all batches have one size, the slope is given up by this a batch: larger batches are then tried, and teach it. */
const FORGETTING = 0.99;
/** What of the first observation is taken to be by the row: little, so that larger batches are tried. */
const FIRST_SLOPE = 0.1;
/** A slope with a larger standard error, as a share of it, is not known. */
const SLOPE_ERROR = 0.5;
/** Fewer observations say nothing that a request may be refused for. */
const OBSERVATIONS_NEEDED = 3;
/** Older observations neither: a server that refuses everything for what it believes would never learn otherwise. */
const BELIEVED_FOR_MS = 2_000;

/**
 * What a batch of n rows of one model costs: T(n) = a + b·n milliseconds, a ≥ 0, b ≥ 0, fitted to recent batches by least
 * squares with exponentially decaying weights.
 *
 *   b = (cov(n, t) + κ·b₀) / (var(n) + κ)     a = mean(t) − b·mean(n)      κ = 0.01·mean(n)², b₀ the slope before
 *
 * The ridge towards the last slope stands in where all batches have one size, which says nothing of it. What is not known
 * is taken to be cheap: the batches that follow from this are larger, and show what it is. One outlier (a collected heap, a model loaded) is cut; a cost that has
 * really changed is believed after three. Observing allocates nothing.
 */
export class CostModel {
  #weight = 0;
  #rows = 0;
  #rowsSquared = 0;
  #ms = 0;
  #rowsMs = 0;
  #msSquared = 0;
  #leastMs = 0;
  #blind = false;
  #fixedMs = 0;
  #perRowMs = 0;
  #observations = 0;
  #surprises = 0;
  #observedAtMs = -Infinity;

  /** Milliseconds that a batch costs however small it is. */
  get fixedMs(): number {
    return this.#fixedMs;
  }

  /** Milliseconds of one more row. */
  get perRowMs(): number {
    return this.#perRowMs;
  }

  /** Mean rows of the recent batches; 0 before the first. */
  get meanRows(): number {
    return this.#weight === 0 ? 0 : this.#rows / this.#weight;
  }

  /**
   * Whether the recent batches do not tell fixed cost from cost by the row: their sizes are too much alike, or the noise is
   * so strong that the slope may as well be half or twice as much.
   */
  get isBlind(): boolean {
    return this.#blind;
  }

  /** What a batch took at best of late. Where the machine is busy with other things, the mean is many times this. */
  get leastMs(): number {
    return this.#leastMs;
  }

  /** Whether a request may be refused by it. */
  isTrusted(nowMs: number): boolean {
    return this.#observations >= OBSERVATIONS_NEEDED && nowMs - this.#observedAtMs <= BELIEVED_FOR_MS;
  }

  estimateMs(rows: number): number {
    return this.#fixedMs + this.#perRowMs * rows;
  }

  /** @param rows at least 1  @param ms how long the batch took, at least 0  @param nowMs when it ended */
  observe(rows: number, ms: number, nowMs: number): void {
    const taken = this.#believable(rows, ms);
    this.#leastMs = this.#observations === 0 ? ms : Math.min(ms, this.#leastMs / LEAST_DECAY);
    this.#weight = this.#weight * DECAY + 1;
    this.#rows = this.#rows * DECAY + rows;
    this.#rowsSquared = this.#rowsSquared * DECAY + rows * rows;
    this.#ms = this.#ms * DECAY + taken;
    this.#rowsMs = this.#rowsMs * DECAY + rows * taken;
    this.#msSquared = this.#msSquared * DECAY + taken * taken;
    this.#observations++;
    this.#observedAtMs = nowMs;
    this.#fit();
  }

  #believable(rows: number, ms: number): number {
    if (this.#observations === 0) {
      this.#perRowMs = (FIRST_SLOPE * ms) / rows;
      return ms;
    }
    const limit = OUTLIER * this.estimateMs(rows) + NOISE_MS;
    if (ms <= limit) {
      this.#surprises = 0;
      return ms;
    }
    this.#surprises++;
    return this.#surprises < SURPRISES_BELIEVED ? limit : ms;
  }

  #fit(): void {
    const meanRows = this.#rows / this.#weight;
    const meanMs = this.#ms / this.#weight;
    const variance = Math.max(0, this.#rowsSquared / this.#weight - meanRows * meanRows);
    const covariance = this.#rowsMs / this.#weight - meanRows * meanMs;
    const inertia = SLOPE_INERTIA * meanRows * meanRows;
    const before = this.#perRowMs * (variance < inertia ? FORGETTING : 1);
    const slope = Math.max(0, (covariance + inertia * before) / (variance + inertia));
    const fixed = meanMs - slope * meanRows;
    const scatter =
      this.#msSquared / this.#weight - meanMs * meanMs - 2 * slope * covariance + slope * slope * variance;
    // the standard error of the slope, squared, is scatter / (weight · variance)
    this.#blind = variance < inertia || scatter > this.#weight * variance * (SLOPE_ERROR * slope) ** 2;
    this.#fixedMs = Math.max(0, fixed);
    // a line through the origin, where the free one would start below it
    this.#perRowMs = fixed < 0 ? this.#rowsMs / this.#rowsSquared : slope;
  }
}
