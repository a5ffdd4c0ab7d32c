/** A mismatch by itself: the fewest rows that still show it through the product's own store, and the case they make. */
import type { ProjectSpec } from '../../../domain/project/spec.ts';
import { dropAll } from '../../../features/online/guarded-write.ts';
import { openOnlineStore, type OpenStore } from '../../../features/online/open-store.ts';
import { LocalApplier } from './applier.ts';
import { skewProject } from './definitions.ts';
import { bendView, type Fault } from './faults.ts';
import { compileViews, feedsOf } from './feeding.ts';
import type { Found } from './find-fault.ts';
import { pitCase } from './pit-case.ts';
import { firstDifference, sameValue, showAnswer, type ViewAnswer } from './read-log.ts';
import { bentPath, servingPath } from './read-path.ts';
import { Serving } from './serving.ts';
import type { Servers } from './servers.ts';
import { smallestFailing } from './shrink.ts';
import { createWitness } from './witness.ts';
import { PIT_SCHEMA } from '../pit/case-types.ts';
import type { World, WorldRow } from './world.ts';

/** Batches in which the rows of a trial arrive, at most. */
const STEPS = 25;
/** View versions that no world of a run has. */
const FIRST_VERSION = 1_000_000;

export interface Isolated {
  /** The rows that are left, and whether they show the mismatch again. */
  readonly rows: readonly WorldRow[];
  readonly repeats: boolean;
  readonly expected: ViewAnswer;
}

/** What went wrong, for people: the two answers, and the smallest world as a case. */
export async function explainMismatch(found: Found, servers: Servers, fault?: Fault): Promise<string> {
  const { report, mismatch } = found;
  const { record, view, output, offline, judge } = mismatch;
  const spec = report.project.views[view]!;
  const { rows, repeats, expected } = await isolate(found, servers, fault);
  const sentence = repeats
    ? `${rows.length === 1 ? '1 row shows' : `${rows.length} rows show`} it again:`
    : `the ${rows.length} rows of its key do not show it again: it is a matter of what happened around the read (${record.moments.join(', ') || 'nothing special'}):`;
  const kase = pitCase({
    project: report.project,
    view: spec,
    rows,
    keys: record.read,
    readAt: record.readAt,
    expected,
    id: `skew-${report.world.seed}-${spec.name}`,
    why: `seed ${report.world.seed}; online ${showAnswer(record.answers[view]!, output)}, by ${judge} ${showAnswer(offline, output)}`,
  });
  return [
    '',
    `${spec.name}, value ${output}, asked ${record.read.aim} at ${record.readAt} with ${record.knownSeq[view]} rows known, on ${found.kind}:`,
    `  ${'online'.padEnd(22)}${showAnswer(record.answers[view]!, output)}`,
    `  ${judge.padEnd(22)}${showAnswer(offline, output)}`,
    `  ${sentence}`,
    JSON.stringify({ schema: PIT_SCHEMA, cases: [kase] }),
  ].join('\n');
}

export async function isolate(found: Found, servers: Servers, fault?: Fault): Promise<Isolated> {
  const { report, mismatch, kind } = found;
  const { record, view } = mismatch;
  const spec = report.project.views[view]!;
  const isKnown = ({ seq, source }: WorldRow): boolean => source === spec.source && seq <= record.knownSeq[view]!;
  const ofKey = createWitness(report.project, spec, report.world.rows).rowsOf(record.read).filter(isKnown);
  const url = servers.urls.get(kind)!;
  const open = (): OpenStore => openOnlineStore(url, { name: 'skew-isolated', connections: 2 });
  const writer = open();
  let version = FIRST_VERSION;
  const fails = async (rows: readonly WorldRow[]): Promise<boolean> => {
    const world = worldOf(report.world, rows);
    const online = await replayed(skewProject(++version), view, world, writer, open, found, fault);
    return online !== null && differs(online, answerOf(report.project, view, world.rows, found));
  };
  // where the values differ, a world in which only a status does is another matter
  const differs = hasOtherValue(record.answers[view]!, mismatch.offline)
    ? hasOtherValue
    : (a: ViewAnswer, b: ViewAnswer): boolean => firstDifference(a, b) >= 0;
  try {
    let [suspects, repeats] = [ofKey, await fails(ofKey)];
    if (!repeats) {
      // rows of other keys may be taken for this one's
      const all = report.world.rows.filter(isKnown);
      repeats = await fails(all);
      if (repeats) suspects = all;
    }
    const rows = repeats ? await smallestFailing(suspects, fails) : suspects;
    const { rows: renumbered } = worldOf(report.world, rows);
    return { rows: renumbered, repeats, expected: answerOf(report.project, view, renumbered, found) };
  } finally {
    await writer.close();
  }
}

function hasOtherValue(a: ViewAnswer, b: ViewAnswer): boolean {
  return a.values.some((value, i) => !sameValue(value, b.values[i]!));
}

/** The rows as a world of their own: numbered from 1, in the same order. */
function worldOf(world: World, rows: readonly WorldRow[]): World {
  return { ...world, rows: rows.map((row, i) => ({ ...row, seq: i + 1 })) };
}

function answerOf(project: ProjectSpec, view: number, rows: readonly WorldRow[], { mismatch }: Found): ViewAnswer {
  const { read, readAt } = mismatch.record;
  return createWitness(project, project.views[view]!, rows).answer(read, readAt, Infinity);
}

/** What the view serves when the rows come one by one; null: its state cannot be asked about the instant any more. */
async function replayed(
  project: ProjectSpec,
  view: number,
  world: World,
  writer: OpenStore,
  open: () => OpenStore,
  { mismatch }: Found,
  fault: Fault | undefined,
): Promise<ViewAnswer | null> {
  const views = compileViews(project).map((each) => (fault === undefined ? each : bendView(each, fault)));
  const { read, readAt } = mismatch.record;
  const writing = fault?.writing?.(writer.store) ?? writer.store;
  const applier = new LocalApplier(world, feedsOf(project, world, views, fault?.events ?? null), writing);
  const reading = fault?.reading;
  const serving = new Serving({
    project,
    path: fault === undefined ? servingPath(project) : bentPath(project, views, fault.keys),
    open,
    ...(reading === undefined ? {} : { wrap: (store) => reading(store, () => world.endAt) }),
  });
  try {
    const step = Math.ceil(world.rows.length / STEPS);
    for (let rows = step; rows < world.rows.length; rows += step) await applier.applyTo(rows);
    await applier.applyTo(world.rows.length);
    const [record] = await serving.read([{ ...read, asOf: readAt }], []);
    return record!.readAt === readAt ? record!.answers[view]! : null;
  } finally {
    await serving.close();
    for (const { plan } of views) await dropAll(writer.store, plan.id);
  }
}
