/** What was measured, as tables for people. */
import type { Machine } from '../features/report.ts';
import type { ArrivalLine, Latency, ReadLine } from './read-bench.ts';
import type { StreamingResult } from './streaming.ts';

export interface WriteLine {
  readonly store: string;
  /** States written a second: events in, kernel, guarded commit. */
  readonly serinRowsPerSecond: number;
  readonly feastRowsPerSecond: number | null;
}

export interface StreamingLine extends StreamingResult {
  readonly store: string;
  /** The streamer was killed on the way and started again: what waited meanwhile is late. */
  readonly killed: boolean;
}

export interface Report {
  readonly machine: { readonly before: Machine; readonly after: Machine };
  readonly quick: boolean;
  readonly reads: readonly ReadLine[];
  readonly arrivals: readonly ArrivalLine[];
  readonly writes: readonly WriteLine[];
  readonly streaming: readonly StreamingLine[];
  readonly feastNote: string | null;
}

/** Targets of issue 4, on a quiet machine. */
const READ_RATIO_MAX = 1.5;
const ARRIVAL_P99_MS: Readonly<Record<number, number>> = { 1: 0.8, 50: 7, 100: 17 };
const WRITES_MIN = 30_000;
const READABLE_P99_MS = 250;

export function printReport({ machine, reads, arrivals, writes, streaming, feastNote }: Report): string {
  const { before, after } = machine;
  const parts = [
    `${before.cpus}, ${before.memoryGiB} GiB; load ${before.load} before, ${after.load} after (a busy machine makes times longer, p99 most)`,
  ];
  if (feastNote !== null) parts.push(feastNote);
  if (reads.length > 0) parts.push(readTable(reads));
  if (arrivals.length > 0) {
    parts.push(
      table(
        ['50 features of 5 views, Redis', 'reads/s', 'p50 ms', 'p99 ms', 'target p99', 'CPU ms a read'],
        arrivals.map(({ entities, readsPerSecond, latency, cpuMs }) => {
          const target = ARRIVAL_P99_MS[entities]!;
          return [
            `${entities} entities`,
            String(readsPerSecond),
            ms(latency.p50),
            ms(latency.p99),
            `${target} ${verdict(latency.p99 <= target)}`,
            ms(cpuMs),
          ];
        }),
      ),
    );
  }
  if (writes.length > 0) {
    parts.push(
      table(
        ['guarded writes', 'Serin rows/s', 'target', 'Feast rows/s (unguarded)'],
        writes.map(({ store, serinRowsPerSecond, feastRowsPerSecond }) => [
          store,
          serinRowsPerSecond.toFixed(0),
          `${WRITES_MIN} ${verdict(serinRowsPerSecond >= WRITES_MIN)}`,
          feastRowsPerSecond === null ? '–' : feastRowsPerSecond.toFixed(0),
        ]),
      ),
    );
  }
  if (streaming.length > 0) {
    parts.push(
      table(
        [
          'streaming',
          'events/s',
          'readable p50 ms',
          'p99 ms',
          'target p99',
          'lost or doubled',
          'CPU s: API, streamer, servers',
        ],
        streaming.map(({ store, killed, eventsPerSecond, readableMs, difference, cpuSeconds }) => [
          killed ? `${store}, killed half-way` : store,
          String(eventsPerSecond),
          ms(readableMs.p50),
          ms(readableMs.p99),
          killed ? '–' : `${READABLE_P99_MS} ${verdict(readableMs.p99 <= READABLE_P99_MS)}`,
          String(difference),
          [cpuSeconds.api, cpuSeconds.streamer, cpuSeconds.servers].map((s) => s.toFixed(1)).join(', '),
        ]),
      ),
    );
  }
  return parts.join('\n\n');
}

function readTable(reads: readonly ReadLine[]): string {
  const shown = (latency: Latency | null): string =>
    latency === null ? '–' : `${ms(latency.p50)} / ${ms(latency.p99)}`;
  const times = (latency: Latency | null, base: Latency): string =>
    latency === null ? '–' : `${(latency.p50 / base.p50).toFixed(1)}×`;
  return table(
    [
      'reads, p50 / p99 ms',
      'hand',
      'Serin store',
      'ratio p50',
      'hand values',
      'Serin features',
      'Feast SDK',
      'Feast HTTP',
      'SDK, HTTP to hand',
    ],
    reads.map((line) => {
      const ratio = line.serinBytes.p50 / line.handBytes.p50;
      return [
        `${line.store}, ${line.entities}`,
        shown(line.handBytes),
        shown(line.serinBytes),
        `${ratio.toFixed(2)} ${verdict(ratio <= READ_RATIO_MAX)}`,
        shown(line.handValues),
        shown(line.serinValues),
        shown(line.feastSdk),
        shown(line.feastHttp),
        `${times(line.feastSdk, line.handValues)}, ${times(line.feastHttp, line.handValues)}`,
      ];
    }),
  );
}

function verdict(met: boolean): string {
  return met ? '✓' : '✗';
}

function ms(value: number): string {
  return value >= 100 ? value.toFixed(0) : value >= 1 ? value.toFixed(2) : value.toFixed(3);
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, c) => Math.max(title.length, ...rows.map((row) => row[c]!.length)));
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, c) => cell.padEnd(widths[c]!)).join(' | ')} |`;
  return [line(head), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)].join('\n');
}
