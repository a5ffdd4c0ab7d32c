/** Builds views of the online store anew, each in a shadow that takes the view's place when it is known to be right. */
import { getLastSequence, listLogFiles, readBuffer } from '../db/ingest.ts';
import { raiseAlert, resolveAlert } from '../db/monitors.ts';
import { getProject } from '../db/projects.ts';
import {
  forgetGeneration,
  getExchangeRevision,
  holdBuffer,
  listAbandonedShadows,
  type Placed,
  placeBuild,
  setExchangeRevision,
  touchShadow,
} from '../db/shadows.ts';
import { forgetProgress, trimmedSequences } from '../db/view-progress.ts';
import { SerinError } from '../domain/errors.ts';
import type { LogFile } from '../domain/features/log-file.ts';
import { type FeatureViewSpec, type SourceSpec, versioned } from '../domain/project/spec.ts';
import { MICROS_PER_HOUR, type Micros } from '../domain/time.ts';
import { compileViewOf, type CompiledView } from '../features/kernel/compiled-view.ts';
import { CHUNK_ENTRIES } from '../features/online/guarded-write.ts';
import { shadowIdOf } from '../features/online/online-store.ts';
import type { PushedEvent } from '../features/online/pushed-event.ts';
import { catchUpShadow, type FillProgress, fillShadow } from '../features/online/shadow.ts';
import { checkShadow, type ShadowDifference } from '../features/reader/shadow-check.ts';
import type { FillPlan, FilledShadow, ShadowBuild, ShadowVerdict } from '../workflows/messages.ts';
import { type Dependencies, withDuckDb } from './dependencies.ts';
import type { Beating } from './heartbeat.ts';

/** The monitor that a failed check of a build is raised under; its subject is the view. */
const MATERIALIZATION_MONITOR = 'feature-materialization';
const RUNBOOK = 'docs/runbooks/feature-skew.md';
/** A part is sorted and built in one piece: about so many events. */
const EVENTS_PER_PART = 2_000_000;
const PARTS_MAX = 256;
/** Keys that are held against the log. */
const SAMPLE_KEYS = 1_000;
const CATCH_UP_BATCH = 2_000;
/** Every one means that the view in use moved on between two statements. */
const EXCHANGES_MAX = 1_000;
/** A shadow that nobody has worked on for so long has lost its workflow. */
const ABANDONED_AFTER = 24 * MICROS_PER_HOUR;

/** What a heartbeat says of a build, and the next attempt goes on from. */
export interface FillReport extends FillProgress {
  /** `forgetGeneration` when the first part was begun. */
  readonly generation: number;
}

interface Definition {
  readonly view: CompiledView;
  readonly definition: { readonly view: FeatureViewSpec; readonly source: SourceSpec };
}

export function createMaterialization({
  db,
  onlineStore: store,
  blobs,
  config,
  logger,
  now,
}: Pick<Dependencies, 'db' | 'onlineStore' | 'blobs' | 'config' | 'logger' | 'now'>) {
  return { open, fill, check, swap, drop };

  /**
   * Begins a shadow: from now on the buffer keeps what is pushed, until the shadow is dropped.
   * @param label names it: the same one again is the same shadow
   */
  async function open(input: { project: string; view: string; label: string }): Promise<{ shadowId: string }> {
    const { view, definition } = await definitionOf(input.project, input.view);
    const viewId = view.plan.id;
    const shadowId = shadowIdOf(viewId, input.label);
    for (const abandoned of await listAbandonedShadows(db, viewId, now() - ABANDONED_AFTER)) {
      logger.warn({ shadow: abandoned }, 'a shadow of a view was left behind; it is dropped');
      while ((await store.drop(abandoned, CHUNK_ENTRIES)) === CHUNK_ENTRIES);
      await forgetProgress(db, [abandoned]);
    }
    const source = definition.source.name;
    await holdBuffer(db, { shadowId, source }, await getLastSequence(db, source), now());
    return { shadowId };
  }

  /** Writes the states of the log's events up to `upToSeq`, part by part. @param done what an earlier attempt reported last */
  async function fill(
    build: ShadowBuild & FillPlan,
    { signal, progress }: Beating,
    done: FillReport | null = null,
  ): Promise<FilledShadow> {
    const { shadowId, upToSeq, keysPerSecond = null } = build;
    const each = await definitionOf(build.project, build.view);
    const generation = done?.generation ?? (await forgetGeneration(db, each.definition.source.name));
    const logFiles = await listLogFiles(db, each.definition.source.name);
    const rows = logFiles.reduce((sum, file) => sum + file.rows, 0);
    const parts = build.parts ?? Math.min(PARTS_MAX, Math.max(1, Math.ceil(rows / EVENTS_PER_PART)));
    const pace = new Pace(keysPerSecond, signal);
    const filled = await withDuckDb(config, (duckdb) =>
      fillShadow({
        ...each,
        logFiles,
        upToSeq,
        foldAt: build.foldAt,
        blobs,
        duckdb,
        store,
        shadowId,
        parts,
        from: done ?? { parts: 0, keys: 0, events: 0 },
        signal,
        ...(keysPerSecond === null ? {} : { entriesMax: Math.min(CHUNK_ENTRIES, Math.ceil(keysPerSecond / 4)) }),
        onWritten: (keys) => pace.after(keys),
        async onPart(reached) {
          progress({ ...reached, generation } satisfies FillReport);
          await touchShadow(db, shadowId, now());
        },
      }),
    );
    return { keys: filled.keys, events: filled.events, generation };
  }

  /**
   * Reads keys of the shadow, drawn by its name, as serving would, and holds them against the log.
   * @throws MATERIALIZATION_MISMATCH, with an alert raised, when one value is not that of the log
   */
  async function check(
    build: ShadowBuild & FilledShadow,
    { signal }: Beating,
  ): Promise<{ checked: number; verdict: ShadowVerdict }> {
    const { shadowId, upToSeq, foldAt, keys, generation } = build;
    const { view, definition } = await definitionOf(build.project, build.view);
    const logFiles = await listLogFiles(db, definition.source.name);
    const { keys: checked, differences } = await withDuckDb(config, (duckdb) =>
      checkShadow({
        view,
        definition,
        logFiles,
        upToSeq,
        foldAt,
        blobs,
        duckdb,
        store,
        shadowId,
        keys,
        sample: SAMPLE_KEYS,
        seed: seedOf(shadowId),
        signal,
      }),
    );
    await touchShadow(db, shadowId, now());
    const subject = { model: view.plan.id, monitor: MATERIALIZATION_MONITOR };
    const [first] = differences;
    if (first === undefined) {
      await resolveAlert(db, { ...subject, at: now() });
      return { checked, verdict: 'good' };
    }
    if ((await forgetGeneration(db, definition.source.name)) !== generation) return { checked, verdict: 'outdated' };
    const sentence = sentenceOf(view.plan.id, first, differences.length, checked);
    await raiseAlert(db, {
      ...subject,
      alertId: `${MATERIALIZATION_MONITOR}/${shadowId}`,
      severity: 'critical',
      owner: definition.view.owner,
      runbook: RUNBOOK,
      sentence,
      raisedAt: now(),
    });
    throw new SerinError('MATERIALIZATION_MISMATCH', sentence, { fields: { view: view.plan.id, checked } });
  }

  /**
   * Feeds the shadow what was pushed meanwhile and puts it in the view's place, once, however often it is asked to: what
   * lies under the shadow's name afterwards is what the view had.
   */
  async function swap(
    build: ShadowBuild & Pick<FilledShadow, 'generation'>,
    { signal, progress }: Beating,
  ): Promise<{ verdict: ShadowVerdict }> {
    const { shadowId, upToSeq, generation } = build;
    const { view, definition } = await definitionOf(build.project, build.view);
    const { id: viewId, source } = view.plan;
    const newestEventAt = newestOf(await listLogFiles(db, definition.source.name), upToSeq);
    const shadowRevision = async (): Promise<number> => (await store.snapshot(shadowId, [])).revision;
    const standing = await getExchangeRevision(db, shadowId);
    if (standing !== null && standing !== (await shadowRevision())) {
      // an earlier attempt has put it in place and died before it could say so
      const built = { viewId, source, appliedSeq: upToSeq, builtSeq: upToSeq, generation, newestEventAt };
      return { verdict: verdictOf(await placeBuild(db, built, now, () => Promise.resolve(true))) };
    }
    let intended = standing;
    for (let exchange = 0; exchange < EXCHANGES_MAX; exchange++) {
      const { appliedSeq } = await catchUpShadow({
        view,
        store,
        shadowId,
        signal,
        readEvents: (afterSeq) => pushedAfter(source, afterSeq),
      });
      progress({ appliedSeq });
      const revision = await shadowRevision();
      await setExchangeRevision(db, shadowId, { from: intended, to: revision });
      const built = { viewId, source, appliedSeq, builtSeq: upToSeq, generation, newestEventAt };
      const placed = await placeBuild(db, built, now, () =>
        store.exchange(viewId, shadowId, { notBehind: true, otherRevision: revision }),
      );
      if (placed === 'placed') return { verdict: 'good' };
      await setExchangeRevision(db, shadowId, { from: revision, to: null });
      if (placed !== 'refused') return { verdict: verdictOf(placed) };
      intended = null;
    }
    throw new SerinError(
      'ONLINE_STORE_UNAVAILABLE',
      `${viewId} moved on ${EXCHANGES_MAX} times while its shadow caught up; it is tried again`,
    );
  }

  /** Takes away what lies under a shadow's name, in steps, and lets go of the buffer. */
  async function drop({ shadowId }: { shadowId: string }, { signal, progress }: Beating): Promise<void> {
    let dropped = 0;
    for (;;) {
      signal.throwIfAborted();
      const count = await store.drop(shadowId, CHUNK_ENTRIES);
      progress({ dropped: (dropped += count) });
      if (count < CHUNK_ENTRIES) break;
    }
    await forgetProgress(db, [shadowId]);
  }

  async function definitionOf(project: string, viewId: string): Promise<Definition> {
    const { spec } = await getProject(db, project);
    const view = spec.views.find((each) => versioned(each) === viewId);
    if (view === undefined)
      throw new SerinError('REFERENCE_MISSING', `the project "${project}" has no view ${viewId} any more`);
    const source = spec.sources.find(({ name }) => name === view.source)!;
    return { view: compileViewOf(spec, viewId), definition: { view, source } };
  }

  async function pushedAfter(source: string, afterSeq: number): Promise<PushedEvent[]> {
    const stored = await readBuffer(db, { source, afterSeq, limit: CATCH_UP_BATCH });
    // asked after the read: what it lacks would be said here
    const trimmed = (await trimmedSequences(db, [source])).get(source) ?? 0;
    if (trimmed > afterSeq) {
      throw new SerinError(
        'MATERIALIZATION_GAP',
        `events of ${source} up to ${trimmed} have left the buffer, and the build has them up to ${afterSeq} only: start it again`,
      );
    }
    return stored.map(({ seq, eventAt, availableAt, clockAt, row, operation: kind, eventId }) => {
      return { seq, eventAt, availableAt, clockAt, row, kind, eventId };
    });
  }
}

/** Writes no more keys a second than it may, over the time since it began. */
class Pace {
  readonly #perSecond: number | null;
  readonly #signal: AbortSignal;
  readonly #since = performance.now();
  #keys = 0;

  constructor(perSecond: number | null, signal: AbortSignal) {
    this.#perSecond = perSecond;
    this.#signal = signal;
  }

  async after(keys: number): Promise<void> {
    this.#signal.throwIfAborted();
    if (this.#perSecond === null) return;
    this.#keys += keys;
    const ms = (this.#keys / this.#perSecond) * 1_000 - (performance.now() - this.#since);
    if (ms <= 0) return;
    await new Promise<void>((resolve) => {
      const end = (): void => {
        clearTimeout(timer);
        this.#signal.removeEventListener('abort', end);
        resolve();
      };
      const timer = setTimeout(end, ms);
      this.#signal.addEventListener('abort', end);
    });
    this.#signal.throwIfAborted();
  }
}

/** A view of more of the log has been put in place meanwhile: that is as good. */
function verdictOf(placed: Placed): ShadowVerdict {
  return placed === 'outdated' ? 'outdated' : 'good';
}

function newestOf(files: readonly LogFile[], upToSeq: number): Micros | null {
  const within = files.filter(({ firstSeq }) => firstSeq <= upToSeq).map(({ maxEventAt }) => maxEventAt);
  return within.length === 0 ? null : within.reduce((a, b) => Math.max(a, b));
}

function seedOf(text: string): number {
  let seed = 0;
  for (let i = 0; i < text.length; i++) seed = (Math.imul(seed, 31) + text.charCodeAt(i)) | 0;
  return seed;
}

function sentenceOf(viewId: string, first: ShadowDifference, found: number, checked: number): string {
  // the key itself may be personal: how it is written is enough to find it again
  const key = Buffer.from(first.key).toString('hex').slice(0, 16);
  const rest = found === 1 ? '' : `, and ${found - 1} or more values beside it differ`;
  return (
    `${viewId} was built anew and not put in place: of ${checked} keys that were checked, the key ${key}… reads ` +
    `${first.output} = ${first.stored} at ${String(first.at)} where the log gives ${first.ofLog}${rest}`
  );
}
