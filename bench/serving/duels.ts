/** Two servers at once, measured by turns: what the machine does to one it does to the other. */
import type { Contender, Workshop } from './contenders.ts';
import type { Measure, Measurement } from './load-report.ts';

export interface DuelRow {
  readonly rival: string;
  /** Null: closed loop at 32 connections; else requests a second, open loop on 256. */
  readonly rate: number | null;
  readonly turns: number;
  readonly serin: DuelSide;
  readonly other: DuelSide;
}

/** Medians over the turns. */
interface DuelSide {
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly cpuMicrosPerRequest: number;
}

type WithServer = (
  contender: Contender,
  port: number,
  workshop: Workshop,
  model: 'm' | 'big',
  body: (measure: Measure) => Promise<void>,
) => Promise<void>;

const SERIN = 'serin, 2 processes';
const CLOSED_TURNS = 10;
const OPEN_TURNS = 5;
const TURN_SECONDS = 1.5;
/** The rates at which a rival is met, beside the closed loop. */
const RATES: Readonly<Record<string, readonly number[]>> = {
  'Go + ORT (one file)': [5_000, 10_000, 14_000, 18_000, 22_000, 26_000],
  'FastAPI + ORT, 2 workers': [],
  LitServe: [],
};

export async function fightDuels(workshop: Workshop, port: number, withServer: WithServer): Promise<DuelRow[]> {
  const rows: DuelRow[] = [];
  const serin = workshop.contenders('m', port).find(({ name }) => name === SERIN)!;
  for (const [name, rates] of Object.entries(RATES)) {
    const rival = workshop.contenders('m', port + 1).find((each) => each.name === name);
    if (rival === undefined || rival.missing !== null) continue;
    await withServer(serin, port, workshop, 'm', (ofSerin) =>
      withServer(rival, port + 1, workshop, 'm', async (ofRival) => {
        for (const rate of [null, ...rates]) {
          const turns = rate === null ? CLOSED_TURNS : OPEN_TURNS;
          const load = { connections: rate === null ? 32 : 256, rate: rate ?? 0, seconds: TURN_SECONDS };
          const [mine, others]: [Omit<Measurement, 'round'>[], Omit<Measurement, 'round'>[]] = [[], []];
          for (let turn = 0; turn < turns; turn++) {
            mine.push(await ofSerin(load));
            others.push(await ofRival(load));
          }
          rows.push({ rival: name, rate, turns, serin: sideOf(mine), other: sideOf(others) });
        }
      }),
    );
  }
  return rows;
}

function sideOf(measured: readonly Omit<Measurement, 'round'>[]): DuelSide {
  const median = (of: (each: Omit<Measurement, 'round'>) => number): number => {
    const sorted = measured.map(of).toSorted((a, b) => a - b);
    const middle = sorted.length >> 1;
    return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
  };
  return {
    perSecond: median(({ perSecond }) => perSecond),
    p50Ms: median(({ p50Ms }) => p50Ms),
    p99Ms: median(({ p99Ms }) => p99Ms),
    cpuMicrosPerRequest: median(({ cpuMicrosPerRequest }) => cpuMicrosPerRequest),
  };
}

export function printDuels(rows: readonly DuelRow[]): void {
  if (rows.length === 0) return;
  console.log(`by turns, medians: ${SERIN} / rival`);
  console.log('| rival | load | req/s | p50 ms | p99 ms | CPU µs a request | req/s, Serin : rival |');
  for (const { rival, rate, serin, other } of rows) {
    const both = (of: (side: DuelSide) => number, digits: number): string =>
      `${of(serin).toFixed(digits)} / ${of(other).toFixed(digits)}`;
    const cells = [
      rival,
      rate === null ? 'c=32' : `${rate}/s`,
      both(({ perSecond }) => perSecond, 0),
      both(({ p50Ms }) => p50Ms, 2),
      both(({ p99Ms }) => p99Ms, 1),
      both(({ cpuMicrosPerRequest }) => cpuMicrosPerRequest, 0),
      `${(serin.perSecond / other.perSecond).toFixed(2)} ×`,
    ];
    console.log(`| ${cells.join(' | ')} |`);
  }
}
