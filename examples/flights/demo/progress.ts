/** Lines for a person who waits: elapsed seconds, the step, what happened. */
export class Progress {
  readonly #startedAtMs = Date.now();
  #step = 0;

  step(title: string): void {
    this.#step += 1;
    process.stdout.write(`\n${this.#elapsed()}  ${this.#step}. ${title}\n`);
  }

  line(text: string): void {
    process.stdout.write(`${this.#elapsed()}     ${text}\n`);
  }

  get seconds(): number {
    return (Date.now() - this.#startedAtMs) / 1_000;
  }

  #elapsed(): string {
    return `${this.seconds.toFixed(1).padStart(6)} s`;
  }
}

const WHOLE = new Intl.NumberFormat('en-US');

export function whole(value: number): string {
  return WHOLE.format(value);
}

export function interval({ value, low, high }: { value: number; low: number; high: number }, digits = 4): string {
  return `${value.toFixed(digits)} [${low.toFixed(digits)}, ${high.toFixed(digits)}]`;
}
