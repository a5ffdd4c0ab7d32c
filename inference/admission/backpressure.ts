/** A connection as far as reading from it goes; of others only the load is counted. */
export interface PausableSocket {
  readonly destroyed: boolean;
  pause(): unknown;
  resume(): unknown;
}

export interface BackpressureLimits {
  /** Refusing may take this share of a saturated event loop, 0…1. */
  readonly refusingShare: number;
  /** How long nothing is read from a connection, at most. */
  readonly maxPauseMs: number;
}

/**
 * Two fifths: a model of half a millisecond a request refuses twice its peak in less, without anybody being kept waiting; and
 * half of the peak is still answered of one that costs no more than saying no.
 */
const BACKPRESSURE_LIMITS: BackpressureLimits = { refusingShare: 0.4, maxPauseMs: 1_000 };

export interface BackpressureDeps {
  readonly nowMs: () => number;
  /** How long the event loop has been at work since some moment. */
  readonly activeMs: () => number;
  readonly limits: BackpressureLimits;
}

const WINDOW_MS = 100;
/** From here on the event loop is saturated: what refusals take is taken from answers. */
const SATURATED = 0.9;
/** Below, some who wait may come back sooner. */
const IDLE_AGAIN = 0.8;
const TICK_MS = 5;
/** Of those who wait, so many come back in each tick while there is time for them. */
const BACK_SHARE = 0.05;
/** What lies between a refusal and the next request read, and is longer than this, was something else. */
const GAP_MAX_MS = 0.5;
const SMOOTHING = 0.02;
/** A pause begins with this, and changes by at most so many times a window: sooner upwards than back. */
const FIRST_PAUSE_MS = 10;
const STEP = { up: 2, down: 0.8, idle: 0.5 } as const;
/** A shorter one is none. */
const LEAST_PAUSE_MS = 3;

interface Paused {
  readonly socket: PausableSocket;
  readonly sinceMs: number;
}

/**
 * Keeps refusals from taking all of a process. A refusal costs its reading, parsing and answering, and where a model is light
 * that is as much as an answer: at several times the peak the event loop would do nothing else. When refusing takes more than
 * its share of a saturated loop, nothing is read for a while from connections that were refused: their next requests wait in
 * the kernel, and TCP tells whoever sends them. The pause is as long as keeps refusing to its share.
 *
 * What was sent while nobody read may be as old as the pause, and counts as such: it is refused where it comes too late.
 */
export class Backpressure {
  readonly #deps: BackpressureDeps;
  readonly #paused: Paused[] = [];
  #toPause: PausableSocket[] = [];
  /** Since when a connection that is read again was not. */
  readonly #unreadSince = new WeakMap<object, number>();
  #hasPaused = false;
  #windowFromMs: number;
  #activeAtMs: number;
  #refusals = 0;
  #refusalMs = 0;
  #lastRefusedMs = -Infinity;
  #pauseMs = 0;
  #timer: NodeJS.Timeout | null = null;
  #tick = { atMs: 0, activeMs: 0 };

  constructor(deps: BackpressureDeps) {
    this.#deps = deps;
    this.#windowFromMs = deps.nowMs();
    this.#activeAtMs = deps.activeMs();
  }

  /** Connections that are not read from. */
  get pausedConnections(): number {
    return this.#paused.length;
  }

  /** Told of each request. @returns when it was sent at the earliest, as far as that is known: now, or the start of a pause */
  arrived(socket: object, nowMs: number): number {
    const gapMs = nowMs - this.#lastRefusedMs;
    if (gapMs < GAP_MAX_MS)
      this.#refusalMs = this.#refusalMs === 0 ? gapMs : this.#refusalMs + SMOOTHING * (gapMs - this.#refusalMs);
    this.#lastRefusedMs = -Infinity;
    if (this.#toPause.length > 0 && this.#toPause.at(-1) !== socket) this.#pauseThem();
    if (!this.#hasPaused) return nowMs;
    // timers wait for the end of a turn, too
    if (this.#timer !== null && nowMs - this.#tick.atMs >= TICK_MS) this.#look();
    const sinceMs = this.#unreadSince.get(socket);
    if (sinceMs === undefined) return nowMs;
    this.#unreadSince.delete(socket);
    return sinceMs;
  }

  /** Told of each request that is refused, for want of time or room. @param sentMs as `arrived` had it */
  refused(socket: object, sentMs: number, nowMs: number): void {
    this.#lastRefusedMs = nowMs;
    this.#refusals++;
    if (nowMs - this.#windowFromMs >= WINDOW_MS) this.#judge(nowMs);
    // who has just waited is not made to wait again
    if (this.#pauseMs === 0 || sentMs < nowMs || !isPausable(socket)) return;
    // of pipelined requests each may be refused
    if (this.#toPause.at(-1) === socket) return;
    // The rest of the request is still in the parser, which reads on when it is done: by the time of the next one. That is waited
    // for, and not a turn of the event loop: with more than 1,024 readable connections libuv polls 48 times before it ends one.
    if (this.#toPause.length === 0) setImmediate(() => this.#pauseThem());
    this.#toPause.push(socket);
  }

  /** Reads from everybody again, as before a server leaves. */
  release(): void {
    this.#pauseMs = 0;
    this.#toPause = [];
    this.#comeBack(this.#paused.length);
  }

  #judge(nowMs: number): void {
    const { activeMs, limits } = this.#deps;
    const elapsedMs = nowMs - this.#windowFromMs;
    const active = activeMs();
    const isSaturated = active - this.#activeAtMs >= SATURATED * elapsedMs;
    const tooMuch = (this.#refusals * this.#refusalMs) / elapsedMs / limits.refusingShare;
    if (isSaturated && tooMuch > 1)
      this.#pauseMs = Math.min(limits.maxPauseMs, Math.max(FIRST_PAUSE_MS, this.#pauseMs * Math.min(STEP.up, tooMuch)));
    else this.#pauseMs *= isSaturated ? Math.max(STEP.down, tooMuch) : STEP.idle;
    if (this.#pauseMs < LEAST_PAUSE_MS) this.#pauseMs = 0;
    this.#windowFromMs = nowMs;
    this.#activeAtMs = active;
    this.#refusals = 0;
  }

  #pauseThem(): void {
    const sinceMs = this.#deps.nowMs();
    for (const socket of this.#toPause) {
      if (socket.destroyed) continue;
      socket.pause();
      this.#hasPaused = true;
      this.#paused.push({ socket, sinceMs });
    }
    this.#toPause = [];
    if (this.#timer !== null || this.#paused.length === 0) return;
    this.#tick = { atMs: sinceMs, activeMs: this.#deps.activeMs() };
    this.#timer = setInterval(() => this.#look(), TICK_MS).unref();
  }

  #look(): void {
    const { nowMs, activeMs } = this.#deps;
    const [now, active] = [nowMs(), activeMs()];
    const isIdle = active - this.#tick.activeMs < IDLE_AGAIN * (now - this.#tick.atMs);
    this.#tick = { atMs: now, activeMs: active };
    const firstToStay = this.#paused.findIndex(({ sinceMs }) => now - sinceMs < this.#pauseMs);
    const over = firstToStay === -1 ? this.#paused.length : firstToStay;
    this.#comeBack(Math.max(over, isIdle ? Math.ceil(this.#paused.length * BACK_SHARE) : 0));
  }

  /** Those who have waited longest. */
  #comeBack(count: number): void {
    for (const { socket, sinceMs } of this.#paused.splice(0, count)) {
      if (socket.destroyed) continue;
      this.#unreadSince.set(socket, sinceMs);
      socket.resume();
    }
    if (this.#paused.length > 0 || this.#timer === null) return;
    clearInterval(this.#timer);
    this.#timer = null;
  }
}

/** Of this process. */
export function startBackpressure(): Backpressure {
  return new Backpressure({
    nowMs: () => performance.now(),
    activeMs: () => performance.eventLoopUtilization().active,
    limits: BACKPRESSURE_LIMITS,
  });
}

function isPausable(socket: object): socket is PausableSocket {
  return 'pause' in socket && 'resume' in socket;
}
