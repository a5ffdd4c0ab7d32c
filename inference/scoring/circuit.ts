/**
 * A circuit breaker (M. Nygard, Release It!, 2007): what fails most of the time is left alone for a while instead of being
 * asked, and let back in by single calls. Time comes in with every question; nothing here has a timer.
 */

export interface CircuitPolicy {
  /** What happened longer ago than this says nothing any more. */
  readonly windowMs: number;
  /** With fewer calls than this in the window it stays closed. */
  readonly minCalls: number;
  /** Opens at a failure when at least this share (0…1) of the window's calls failed; 0: at any failure. */
  readonly failureShare: number;
  /** How long it stays open before it lets one call through. */
  readonly openMs: number;
  /** Calls that must succeed, one after the other, before it closes again. */
  readonly probes: number;
}

/** `half_open`: one call at a time is let through, to see. */
export type CircuitState = 'closed' | 'half_open' | 'open';

const SLOTS = 10;

/**
 * The circuit of one callee. Whoever is admitted must say how it went, by `record` exactly once; `late` before it says that
 * the callee is still at it, and `returned` that it has come back after all.
 */
export class Circuit {
  readonly #policy: CircuitPolicy;
  readonly #onOpen: () => void;
  readonly #calls = new Float64Array(SLOTS);
  readonly #failures = new Float64Array(SLOTS);
  #slot = -1;
  #openedMs: number | null = null;
  #probing = false;
  #probed = 0;
  #late = 0;

  constructor(policy: CircuitPolicy, onOpen: () => void = () => undefined) {
    this.#policy = policy;
    this.#onOpen = onOpen;
  }

  /** Whether to make a call now. True must be followed by `record`. */
  admit(nowMs: number): boolean {
    if (this.#openedMs === null) return this.#late === 0;
    if (this.state(nowMs) === 'open' || this.#probing) return false;
    this.#probing = true;
    return true;
  }

  /** @param failed the part of the call that failed, 0…1: a batch of which a few rows failed is not a failed call */
  record(nowMs: number, failed: number): void {
    if (this.#openedMs !== null) {
      this.#recordProbe(nowMs, failed);
      return;
    }
    const slot = this.#turnTo(nowMs);
    this.#calls[slot]!++;
    if (failed === 0) return;
    this.#failures[slot]! += failed;
    const calls = sum(this.#calls);
    if (calls >= this.#policy.minCalls && sum(this.#failures) >= this.#policy.failureShare * calls) this.#open(nowMs);
  }

  /** A call has not come back in time. Another one would only wait behind it, so none is made until it has. */
  late(): void {
    this.#late++;
  }

  returned(): void {
    this.#late--;
  }

  get isLate(): boolean {
    return this.#late > 0;
  }

  /** Of a closed circuit, `open` while a call is late. */
  state(nowMs: number): CircuitState {
    if (this.#late > 0) return 'open';
    if (this.#openedMs === null) return 'closed';
    return nowMs - this.#openedMs < this.#policy.openMs ? 'open' : 'half_open';
  }

  #recordProbe(nowMs: number, failed: number): void {
    // a call from before it opened tells nothing new
    if (!this.#probing) return;
    this.#probing = false;
    if (failed > 0 && failed >= this.#policy.failureShare) {
      this.#open(nowMs);
      return;
    }
    this.#probed++;
    if (this.#probed < this.#policy.probes) return;
    this.#openedMs = null;
    this.#calls.fill(0);
    this.#failures.fill(0);
  }

  #open(nowMs: number): void {
    this.#openedMs = nowMs;
    this.#probed = 0;
    this.#onOpen();
  }

  /** The slot of now, with those in between emptied. */
  #turnTo(nowMs: number): number {
    const now = Math.floor((nowMs * SLOTS) / this.#policy.windowMs);
    const turns = Math.min(now - this.#slot, SLOTS);
    for (let i = 0; i < turns; i++) {
      const slot = (now - i) % SLOTS;
      this.#calls[slot] = 0;
      this.#failures[slot] = 0;
    }
    if (turns > 0) this.#slot = now;
    return this.#slot % SLOTS;
  }
}

/** The circuits of many callees; one that nobody holds any more takes its circuit along. */
export class Circuits<Callee extends object> {
  readonly #policy: CircuitPolicy;
  readonly #onOpen: (callee: Callee) => void;
  readonly #circuits = new WeakMap<Callee, Circuit>();

  constructor(policy: CircuitPolicy, onOpen: (callee: Callee) => void = () => undefined) {
    this.#policy = policy;
    this.#onOpen = onOpen;
  }

  of(callee: Callee): Circuit {
    let circuit = this.#circuits.get(callee);
    if (circuit === undefined) {
      circuit = new Circuit(this.#policy, () => this.#onOpen(callee));
      this.#circuits.set(callee, circuit);
    }
    return circuit;
  }
}

function sum(slots: Float64Array): number {
  let total = 0;
  for (let i = 0; i < SLOTS; i++) total += slots[i]!;
  return total;
}
