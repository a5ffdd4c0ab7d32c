export interface TokenBucketOptions {
  /** Tokens a second. */
  readonly rate: number;
  /** The most that a quiet client has saved up, at least 1. */
  readonly burst: number;
  /** Clients that are remembered; the one not heard of for longest is forgotten first, and begins anew with a full bucket. */
  readonly maxClients: number;
}

interface Bucket {
  tokens: number;
  filledMs: number;
}

/**
 * A token bucket per client: one token a row. The first row is taken when the request comes, before its body is read; the
 * others when they are known, on credit, so that one large request makes its client wait instead of being refused.
 */
export class TokenBuckets {
  readonly #options: TokenBucketOptions;
  /** In the order they were last used. */
  readonly #buckets = new Map<string, Bucket>();

  constructor(options: TokenBucketOptions) {
    this.#options = options;
  }

  get clients(): number {
    return this.#buckets.size;
  }

  /** Takes a token. @returns 0 when there was one, else milliseconds until there will be */
  take(client: string, nowMs: number): number {
    const bucket = this.#bucketOf(client, nowMs);
    if (bucket.tokens < 1) return ((1 - bucket.tokens) / this.#options.rate) * 1_000;
    bucket.tokens--;
    return 0;
  }

  /** Takes tokens that may not be there yet. */
  charge(client: string, tokens: number, nowMs: number): void {
    this.#bucketOf(client, nowMs).tokens -= tokens;
  }

  #bucketOf(client: string, nowMs: number): Bucket {
    const { rate, burst, maxClients } = this.#options;
    let bucket = this.#buckets.get(client);
    if (bucket === undefined) {
      if (this.#buckets.size >= maxClients) this.#buckets.delete(this.#buckets.keys().next().value!);
      bucket = { tokens: burst, filledMs: nowMs };
    } else {
      this.#buckets.delete(client);
      bucket.tokens = Math.min(burst, bucket.tokens + ((nowMs - bucket.filledMs) / 1_000) * rate);
      bucket.filledMs = nowMs;
    }
    this.#buckets.set(client, bucket);
    return bucket;
  }
}
