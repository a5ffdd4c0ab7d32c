import { getDataset } from '../db/runs.ts';
import {
  addRemoved,
  countForgottenBlobs,
  finishForgetRequest,
  type ForgetRequest,
  getForgetRequest,
  isAnyForgotten,
  listDoomedBlobs,
  listProjectSpecs,
  markBlobRemoved,
} from '../db/forget-requests.ts';
import {
  blockKey,
  dropRetiredFile,
  type KeyRoles,
  listDatasetDigests,
  listQuarantineFiles,
  redactDataset,
  removeFromBuffer,
  removePredictions,
  removeRefused,
  replaceForgottenFile,
  replaceQuarantineFile,
} from '../db/forget-rows.ts';
import { readRedactionKeys } from '../db/redaction.ts';
import { listLogFiles, takeSequence } from '../db/ingest.ts';
import { listRetiredFiles } from '../db/log-compaction.ts';
import { SerinError } from '../domain/errors.ts';
import { type Counts, FORGET_PLACES, type ForgetReport } from '../domain/features/forget-report.ts';
import { type KeyHolders, keyHoldersOf } from '../domain/features/forgotten-keys.ts';
import { type ProjectSpec, versioned } from '../domain/project/spec.ts';
import type { Micros } from '../domain/time.ts';
import { encodeKey } from '../features/kernel/key-encoding.ts';
import {
  countInDataset,
  countInLog,
  countInQuarantine,
  type FileWork,
  removeFromDataset,
  removeFromLogFile,
  removeFromQuarantine,
} from '../features/offline/forget-rows.ts';
import { editGuarded } from '../features/online/guarded-write.ts';
import { type Dependencies, withDuckDb } from './dependencies.ts';
import { createForgetScan, rolesInDataset, rolesOfModels } from './forget-scan.ts';
import { forgetExported } from './forget-exported.ts';
import { type Beating, withHeartbeat } from './heartbeat.ts';

/** A request with what it is about. */
export interface Forgetting {
  readonly request: ForgetRequest;
  readonly holders: KeyHolders;
  /** The project in force. */
  readonly project: ProjectSpec;
  /** Of the key, in the order of the entity's parts. */
  readonly values: KeyRoles['values'];
  readonly key: Uint8Array;
  /** That logged predictions may have been redacted with. */
  readonly redactionKeys: readonly string[];
}

interface ForgetInput {
  readonly requestId: string;
}

/** What follows the last of the log's files may have come meanwhile; compactions are seldom. */
const PASSES_MAX = 20;
/** Earlier than any event; the least number itself says that nothing is folded. */
const BEFORE_ALL = Number.MIN_SAFE_INTEGER + 1;

/**
 * Removes an entity, place by place. Every step takes away what it finds and finds nothing when it is run again; what it took is
 * counted in the transaction that took it. A request that is finished has no key any more, and its steps do nothing.
 */
export function createForgettingActivities(dependencies: Dependencies) {
  const { db, onlineStore, blobs, config, now } = dependencies;
  const scan = createForgetScan(dependencies);

  return {
    /** From here on the key is not taken in again. */
    async blockEntity({ requestId }: ForgetInput): Promise<void> {
      const forgetting = await load(requestId);
      if (forgetting === null) return;
      const { holders, values } = forgetting;
      for (const { source, keys } of holders.sources) {
        await db.transaction().execute((tx) => blockKey(tx, source, { keys, values }, { requestId, at: now() }));
      }
    },

    async forgetBuffered({ requestId }: ForgetInput): Promise<void> {
      const forgetting = await load(requestId);
      if (forgetting === null) return;
      const { holders, values } = forgetting;
      await withHeartbeat(async () => {
        for (const { source, keys } of holders.sources) {
          await db.transaction().execute((tx) => removeFromBuffer(tx, requestId, source, { keys, values }));
          await db.transaction().execute((tx) => removeRefused(tx, requestId, source.name, { keys, values }));
        }
      });
    },

    /** The files of the logs, those that compactions replaced, and those of refused rows. */
    async forgetLogged({ requestId }: ForgetInput): Promise<void> {
      const forgetting = await load(requestId);
      if (forgetting === null) return;
      await withHeartbeat(async (beating) => {
        await withFiles(beating, async (work) => {
          for (const holder of forgetting.holders.sources) {
            await forgetLog(forgetting, holder, work, beating);
            await forgetQuarantine(forgetting, holder, work);
          }
        });
        await removeDoomed(requestId);
        await overtakeBuilds(forgetting);
      });
    },

    /** Takes the key's states out; those of other keys that its rows took part in are built anew from the log afterwards. */
    async forgetOnline({ requestId }: ForgetInput): Promise<void> {
      const forgetting = await load(requestId);
      if (forgetting === null) return;
      const { holders, key } = forgetting;
      const ref = { part: 'states', key } as const;
      await withHeartbeat(async () => {
        for (const { viewId } of holders.views) {
          let stood = false;
          await editGuarded(onlineStore, viewId, [ref], ([bytes]) => {
            stood = bytes !== null && bytes !== undefined;
            return stood ? [{ ...ref, bytes: null }] : [];
          });
          if (stood) await addRemoved(db, requestId, 'online', 1);
        }
      });
    },

    /** The views that have seen rows of the key, each with the fold point it has now; none when no row was found. */
    async listForgetRebuilds({
      requestId,
    }: ForgetInput): Promise<{ project: string; views: readonly { view: string; foldAt: Micros }[] }> {
      const forgetting = await load(requestId);
      if (forgetting === null) return { project: '', views: [] };
      const { request, holders, project } = forgetting;
      const { log = 0, buffer = 0, online = 0 } = request.removed;
      if (log + buffer + online === 0) return { project: project.name, views: [] };
      const sources = new Set(holders.sources.map(({ source }) => source.name));
      const views = project.views.filter(({ source }) => sources.has(source)).map(versioned);
      const cursors = await onlineStore.cursors(views);
      return {
        project: project.name,
        views: views.flatMap((view) => {
          const cursor = cursors.get(view);
          return cursor === undefined ? [] : [{ view, foldAt: cursor.foldedAt ?? BEFORE_ALL }];
        }),
      };
    },

    async forgetPredictions({ requestId }: ForgetInput): Promise<void> {
      const forgetting = await load(requestId);
      if (forgetting === null) return;
      await withHeartbeat(async (beating) => {
        for (const { model, roles } of rolesOfModels(forgetting)) {
          await db.transaction().execute((tx) => removePredictions(tx, requestId, model, roles));
          // what was exported before; from here on no export reads it
          await withFiles(beating, (work) => forgetExported({ db }, { requestId, model, roles }, work, beating.signal));
        }
        await removeDoomed(requestId);
      });
    },

    /** Rewrites the files of datasets and marks those that cannot be built again; their manifests stay as they are. */
    async forgetDatasets({ requestId }: ForgetInput): Promise<void> {
      const forgetting = await load(requestId);
      if (forgetting === null) return;
      await withHeartbeat(async (beating) => {
        await withFiles(beating, async (work) => {
          for (const digest of await listDatasetDigests(db, forgetting.project.name)) {
            beating.progress({ dataset: digest });
            await forgetDataset(forgetting, digest, work);
          }
        });
        await removeDoomed(requestId);
      });
    },

    /** Looks everywhere again. What it finds is for the workflow to judge. */
    async scanForgotten({ requestId }: ForgetInput): Promise<{ left: Counts | null }> {
      const forgetting = await load(requestId);
      if (forgetting === null) return { left: null };
      return withHeartbeat(async (beating) => ({
        left: await withFiles(beating, (work) => scan(forgetting, work)),
      }));
    },

    /** Stores the report with the counts of the last scan, takes the key away and appends the decision. */
    async finishForgetting({ requestId, left }: ForgetInput & { left: Counts }): Promise<ForgetReport> {
      return db.transaction().execute(async (tx) => {
        const request = await getForgetRequest(tx, requestId);
        if (request.report !== null) return request.report;
        const files = await countForgottenBlobs(tx, requestId);
        const report: ForgetReport = {
          places: FORGET_PLACES.map((place) => ({
            place,
            removed: request.removed[place] ?? 0,
            left: left[place],
          })),
          blobsRemoved: files.removed,
          blobsKept: files.standing,
          scannedAt: now(),
        };
        await finishForgetRequest(tx, request, { report, at: now() });
        return report;
      });
    },
  };

  /** @returns null when the request is finished */
  async function load(requestId: string): Promise<Forgetting | null> {
    const request = await getForgetRequest(db, requestId);
    const { key } = request;
    if (key === null) return null;
    const versions = await listProjectSpecs(db, request.project);
    const holders = keyHoldersOf(versions, request.entity);
    if (holders === undefined) {
      throw new SerinError('ENTITY_NOT_FOUND', `the project "${request.project}" has no entity "${request.entity}"`);
    }
    const { keys } = holders.entity;
    const values = keys.map(({ name }) => key[name]!);
    const redactionKeys = await readRedactionKeys(db, config.redactionKey ?? '');
    return { request, holders, project: versions[0]!, values, key: encodeKey(keys, values)!, redactionKeys };
  }

  async function withFiles<T>({ signal }: Beating, run: (work: FileWork) => Promise<T>): Promise<T> {
    return withDuckDb(config, (duckdb) => run({ blobs, workDir: config.workDir, duckdb, signal }));
  }

  async function forgetLog(
    { request, values }: Forgetting,
    { source, keys }: KeyHolders['sources'][number],
    work: FileWork,
    { signal, progress }: Beating,
  ): Promise<void> {
    for (let pass = 1; ; pass += 1) {
      let found = 0;
      for (const file of await listLogFiles(db, source.name)) {
        signal.throwIfAborted();
        progress({ source: source.name, pass, file: file.blob.sha256 });
        const rows = await countInLog([file], source, { keys, values }, work);
        if (rows === 0) continue;
        found += 1;
        const by = await removeFromLogFile(file, source, { keys, values }, work);
        await db.transaction().execute((tx) => replaceForgottenFile(tx, request.id, source.name, { file, by, rows }));
      }
      if (found === 0) break;
      if (pass === PASSES_MAX) throw new Error(`files of ${source.name} change faster than rows can be taken out`);
    }
    for (const file of await listRetiredFiles(db, source.name)) {
      if ((await countInLog([file], source, { keys, values }, work)) === 0) continue;
      await db.transaction().execute((tx) => dropRetiredFile(tx, request.id, source.name, file));
    }
  }

  async function forgetQuarantine(
    { request, values }: Forgetting,
    { source, keys }: KeyHolders['sources'][number],
    work: FileWork,
  ): Promise<void> {
    for (const sha256 of await listQuarantineFiles(db, source.name)) {
      const rows = await countInQuarantine({ sha256 }, source, { keys, values }, work);
      if (rows === 0) continue;
      const by = await removeFromQuarantine({ sha256 }, source, { keys, values }, work);
      await db.transaction().execute((tx) => replaceQuarantineFile(tx, request.id, source.name, { sha256, by, rows }));
    }
  }

  async function forgetDataset(forgetting: Forgetting, digest: string, work: FileWork): Promise<void> {
    const { request } = forgetting;
    const { manifest, file: from, redacted } = await getDataset(db, digest);
    const roles = rolesInDataset(forgetting, manifest);
    const rows = await countInDataset(from, roles, work);
    const inputs = Object.values(manifest.inputs).flatMap((files) => files.map(({ blob }) => blob.sha256));
    if (rows === 0 && (redacted !== null || !(await isAnyForgotten(db, inputs)))) return;
    const file = rows === 0 ? from : await removeFromDataset(from, roles, work);
    const redaction = {
      at: now(),
      requestId: request.id,
      rowsRemoved: (redacted?.rowsRemoved ?? 0) + rows,
      file,
      was: manifest.file.sha256,
    };
    await db.transaction().execute((tx) => redactDataset(tx, digest, redaction, { from, rows }));
  }

  /**
   * A build of a view that read the log before its rows went must not take the place of one that is made now. It counts as the
   * older one by the number up to which it was built: one number is left unused, and builds from now on reach it.
   */
  async function overtakeBuilds({ request, holders }: Forgetting): Promise<void> {
    const { removed } = await getForgetRequest(db, request.id);
    if (Object.values(removed).every((rows) => rows === 0)) return;
    for (const { source } of holders.sources) await db.transaction().execute((tx) => takeSequence(tx, source.name, 1));
  }

  /** A blob that is gone already is removed again: what counts is that none is left. */
  async function removeDoomed(requestId: string): Promise<void> {
    for (const sha256 of await listDoomedBlobs(db, requestId)) {
      await blobs.remove({ sha256 });
      await markBlobRemoved(db, sha256, now());
    }
  }
}
