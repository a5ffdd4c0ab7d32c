import { readdirSync, readFileSync } from 'node:fs';

/** Clock ticks of /proc are hundredths of a second on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;

export interface Usage {
  readonly cpuSeconds: number;
  readonly residentMiB: number;
}

/** CPU and memory of a process and all below it, now. Ended children count where they were waited for. */
export function usageOfTree(root: number): Usage {
  const stats = new Map<number, { parent: number; ticks: number; pages: number }>();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const text = readFileSync(`/proc/${name}/stat`, 'utf8');
      // the name in brackets may hold anything
      const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
      const ticks = [11, 12, 13, 14].reduce((sum, at) => sum + Number(fields[at]), 0);
      stats.set(Number(name), { parent: Number(fields[1]), ticks, pages: Number(fields[21]) });
    } catch {
      // it has ended meanwhile
    }
  }
  let ticks = 0;
  let pages = 0;
  for (const [pid, stat] of stats) {
    if (!isBelow(pid, root, stats)) continue;
    ticks += stat.ticks;
    pages += stat.pages;
  }
  return { cpuSeconds: ticks / TICKS_PER_SECOND, residentMiB: (pages * 4096) / 2 ** 20 };
}

function isBelow(pid: number, root: number, stats: ReadonlyMap<number, { parent: number }>): boolean {
  for (let at: number | undefined = pid; at !== undefined && at > 0; at = stats.get(at)?.parent)
    if (at === root) return true;
  return false;
}

/** CPU seconds that all of the machine has spent on work. */
export function machineCpuSeconds(): number {
  const [user, nice, system, , , irq, softirq, steal] = readFileSync('/proc/stat', 'utf8')
    .split('\n', 1)[0]!
    .trim()
    .split(/\s+/)
    .slice(1)
    .map(Number);
  return (user! + nice! + system! + irq! + softirq! + steal!) / TICKS_PER_SECOND;
}
