/** What must hold between reads, and between a store and its log. */
import type { ProjectSpec } from '../../../domain/project/spec.ts';
import type { Micros } from '../../../domain/time.ts';
import { decodeHistory, encodeHistory } from '../../../features/history/history-bytes.ts';
import { foldHistory, isSpentHistory } from '../../../features/history/history.ts';
import { minus } from '../../../domain/instant.ts';
import type { KeyHistory } from '../../../features/history/key-history.ts';
import type { HistoryPlan } from '../../../features/history/plan.ts';
import { EXPIRED_KEPT } from '../../../features/history/pruning.ts';
import type { CompiledView } from '../../../features/kernel/compiled-view.ts';
import { decodeState, encodeState, foldTo, isSpent } from '../../../features/kernel/view-state.ts';
import { dropAll } from '../../../features/online/guarded-write.ts';
import type { OnlineStore } from '../../../features/online/online-store.ts';
import { catchUp, type SourceFeed } from './feeding.ts';
import { createRandom } from './random.ts';
import { firstDifference, type ReadRecord } from './read-log.ts';
import type { Pin } from './run-world.ts';
import type { Witness } from './witness.ts';
import type { World } from './world.ts';

export interface LawReport {
  /** Sentences; empty when all laws hold. */
  readonly broken: readonly string[];
  /** Reads that late rows changed, each once. */
  readonly flips: number;
}

/** What is known of a view never becomes less. */
export function knowledgeGrows(project: ProjectSpec, records: readonly ReadRecord[]): string[] {
  const broken: string[] = [];
  for (const [view, { name }] of project.views.entries()) {
    let known = -1;
    for (const [i, { knownSeq }] of records.entries()) {
      const now = knownSeq[view]!;
      if (now < 0) continue;
      if (now < known) broken.push(`read ${i} of ${name} knew ${now} rows, one before it ${known}`);
      known = Math.max(known, now);
    }
  }
  return broken;
}

/**
 * Late data. A question that is asked again, about the same instant, has the same answer until a row comes that its key is
 * concerned with; the late row itself changes it once or not at all, and never back.
 */
export function lateRowsFlipOnce(project: ProjectSpec, pins: readonly Pin[], witnesses: readonly Witness[]): LawReport {
  const broken: string[] = [];
  let flips = 0;
  for (const { row, records } of pins) {
    for (const [view, { name, source }] of project.views.entries()) {
      if (source !== row.source) continue;
      const { rowsOf } = witnesses[view]!;
      for (let i = 1; i < records.length; i++) {
        const [before, after] = [records[i - 1]!, records[i]!];
        // a state that has been folded further cannot be asked about the instant any more
        if (before.readAt !== after.readAt) continue;
        const [from, to] = [before.knownSeq[view]!, after.knownSeq[view]!];
        const news = rowsOf(before.read).filter(({ seq }) => seq > from && seq <= to);
        const isChanged = firstDifference(before.answers[view]!, after.answers[view]!) >= 0;
        if (!isChanged) continue;
        if (news.length === 0) {
          broken.push(
            `${name} at ${before.readAt} changed between ${from} and ${to} known rows, none of them of its key`,
          );
        } else if (news.includes(row)) {
          flips++;
        }
      }
    }
  }
  return { broken, flips };
}

/**
 * A store that is wiped and fed the log again, in other batches, holds the same bytes (each state folded to the point that
 * the live store had reached: when a key was touched last is no part of what is known of it).
 */
export async function rebuildsToTheSameBytes(
  world: World,
  views: readonly CompiledView[],
  feeds: readonly SourceFeed[],
  store: OnlineStore,
): Promise<string[]> {
  const live = await dumpAll(views, store);
  for (const { plan } of views) await dropAll(store, plan.id);
  const random = createRandom(world.seed, 8);
  for (let rows = 0; rows < world.rows.length;) {
    rows = Math.min(world.rows.length, rows + random.between(1, 400));
    await catchUp(store, feeds, rows, random);
  }
  const again = await dumpAll(views, store);
  const broken: string[] = [];
  for (const [i, { plan }] of views.entries()) {
    const [before, after] = [live[i]!, again[i]!];
    for (const key of new Set([...before.keys(), ...after.keys()])) {
      if (before.get(key) !== after.get(key)) {
        broken.push(`${plan.id}: ${Buffer.from(key, 'latin1').toString('hex')} has other bytes when it is built again`);
      }
    }
  }
  return broken;
}

async function dumpAll(views: readonly CompiledView[], store: OnlineStore): Promise<Map<string, string>[]> {
  const cursors = await store.cursors(views.map(({ plan }) => plan.id));
  const foldAt = Math.max(...[...cursors.values()].map(({ foldedAt }) => foldedAt ?? -Infinity));
  return Promise.all(views.map((view) => dumpView(view, store, foldAt)));
}

async function dumpView(view: CompiledView, store: OnlineStore, foldAt: Micros): Promise<Map<string, string>> {
  const contents = new Map<string, string>();
  for await (const { part, key, bytes } of store.dump(view.plan.id)) {
    const kept = part === 'states' ? foldedBytes(view, bytes, foldAt) : bytes;
    if (kept !== null)
      contents.set(`${part} ${Buffer.from(key).toString('latin1')}`, Buffer.from(kept).toString('hex'));
  }
  return contents;
}

/** Null: nothing is left that a read could see. */
function foldedBytes(view: CompiledView, bytes: Uint8Array, foldAt: Micros): Uint8Array | null {
  if (view.kind === 'tiles') {
    const state = decodeState(view.plan, bytes);
    foldTo(view.plan, state, foldAt);
    return isSpent(view.plan, state, foldAt) ? null : encodeState(view.plan, state);
  }
  const history = decodeHistory(view.plan, bytes);
  foldHistory(view.plan, history, foldAt);
  withoutWhatIsOver(view.plan, history, foldAt);
  return isSpentHistory(view.plan, history, foldAt) ? null : encodeHistory(view.plan, history);
}

/**
 * Of rows beyond TTL and windows a state keeps a bounded number, to tell `expired` from `not_found`. Once it has dropped one,
 * which ones are left depends on when it was folded, and they are no part of the law; half of the bound is far from that.
 */
function withoutWhatIsOver(plan: HistoryPlan, history: KeyHistory, foldAt: Micros): void {
  if (plan.horizon === null) return;
  const reachedFrom = minus(foldAt, plan.horizon);
  const kept = history.facts.filter(({ eventAt }) => eventAt > reachedFrom);
  if (history.facts.length - kept.length > EXPIRED_KEPT / 2) history.replaceFacts(kept);
}
