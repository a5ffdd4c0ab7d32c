/** Looks for a key in every place that it may lie in. */
import {
  countInBuffer,
  countPredictions,
  countRefused,
  type KeyRoles,
  listDatasetDigests,
  listQuarantineFiles,
  withTimeTexts,
} from '../db/forget-rows.ts';
import { tokensOf } from '../db/redaction.ts';
import { listLogFiles } from '../db/ingest.ts';
import { listRetiredFiles } from '../db/log-compaction.ts';
import { getDataset } from '../db/runs.ts';
import type { DatasetManifest } from '../domain/features/dataset-manifest.ts';
import type { Counts } from '../domain/features/forget-report.ts';
import type { KeyNames } from '../domain/features/forgotten-keys.ts';
import { versioned } from '../domain/project/spec.ts';
import { decodeRowIndex } from '../features/history/row-index.ts';
import { countInDataset, countInLog, countInQuarantine, type FileWork } from '../features/offline/forget-rows.ts';
import type { Dependencies } from './dependencies.ts';
import { countExported } from './forget-exported.ts';
import type { Forgetting } from './forgetting.ts';

/** @returns rows (states, in the online store) that have the key still, by place */
export function createForgetScan({ db, onlineStore }: Pick<Dependencies, 'db' | 'onlineStore'>) {
  return async (forgetting: Forgetting, work: FileWork): Promise<Counts> => {
    const { holders, values, project } = forgetting;
    let [buffer, refused, log, quarantine, predictions, datasets] = [0, 0, 0, 0, 0, 0];
    for (const { source, keys } of holders.sources) {
      const roles = { keys, values };
      buffer += await countInBuffer(db, source.name, roles);
      refused += await countRefused(db, source.name, roles);
      const files = [...(await listLogFiles(db, source.name)), ...(await listRetiredFiles(db, source.name))];
      log += await countInLog(files, source, roles, work);
      for (const sha256 of await listQuarantineFiles(db, source.name))
        quarantine += await countInQuarantine({ sha256 }, source, roles, work);
    }
    for (const { model, roles } of rolesOfModels(forgetting)) {
      predictions += await countPredictions(db, model, roles);
      predictions += await countExported({ db }, { model, roles }, work);
    }
    for (const digest of await listDatasetDigests(db, project.name)) {
      const { manifest, file } = await getDataset(db, digest);
      datasets += await countInDataset(file, rolesInDataset(forgetting, manifest), work);
    }
    return { buffer, refused, log, quarantine, online: await countOnline(forgetting), predictions, datasets };
  };

  /** The key's states as a request would get them, and places of its rows in the views that keep an index of rows. */
  async function countOnline({ holders, key, project }: Forgetting): Promise<number> {
    const { states } = await onlineStore.read(holders.views.map(({ viewId }) => ({ viewId, key })));
    let found = states.filter((state) => state !== null).length;
    // views of earlier project versions are not built anew
    const declared = new Set(project.views.map(versioned));
    const views = holders.views.map(({ viewId }) => viewId).filter((viewId) => declared.has(viewId));
    const cursors = await onlineStore.cursors(views);
    for (const viewId of cursors.keys()) {
      for await (const { part, bytes } of onlineStore.dump(viewId)) {
        if (part === 'rows' && decodeRowIndex(bytes).some((version) => sameBytes(version.key, key))) found += 1;
      }
    }
    return found;
  }
}

/** By which request fields the key is asked for, per model; an instant may be logged as a number or as a text. */
export function rolesOfModels({
  holders,
  values,
  redactionKeys,
}: Pick<Forgetting, 'holders' | 'values' | 'redactionKeys'>): { model: string; roles: KeyRoles }[] {
  const times = holders.entity.keys.map(({ type }) => type === 'ts');
  const tokens = values.map((value) => tokensOf(redactionKeys, value));
  return [...holders.models].flatMap(([model, keys]) => {
    const roles = { keys, values, tokens };
    return times.includes(true)
      ? [roles, withTimeTexts(roles, times)].map((each) => ({ model, roles: each }))
      : [{ model, roles }];
  });
}

/** Request fields of a dataset that hold the key. */
export function rolesInDataset(
  { holders, values }: Pick<Forgetting, 'holders' | 'values'>,
  { featureSet, label, requestFields }: Pick<DatasetManifest, 'featureSet' | 'label' | 'requestFields'>,
): KeyRoles {
  const keys: KeyNames[] = [...(holders.featureSets.get(featureSet) ?? []), ...(holders.labels.get(label) ?? [])];
  return { keys: keys.filter((fields) => fields.every((field) => requestFields.includes(field))), values };
}

function sameBytes(a: Uint8Array | null, b: Uint8Array): boolean {
  return a !== null && Buffer.compare(a, b) === 0;
}
