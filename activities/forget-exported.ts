/** Takes the answers to a key's requests out of the Parquet files of the prediction log, and counts those that are left. */
import type { KeyRoles } from '../db/forget-rows.ts';
import { listPartsForForgetting, removeOutcomes, replacePart } from '../db/prediction-exports.ts';
import { addRemoved } from '../db/forget-requests.ts';
import type { LoggedPrediction } from '../db/predictions.ts';
import type { Dependencies } from './dependencies.ts';
import { type PredictionFileWork, readPart, rewritePart } from './prediction-files.ts';

/** Files change only when a key is forgotten: a part that has changed meanwhile is looked at again. */
export async function forgetExported(
  { db }: Pick<Dependencies, 'db'>,
  { requestId, model, roles }: { requestId: string; model: string; roles: KeyRoles },
  work: PredictionFileWork,
  signal: AbortSignal,
): Promise<void> {
  for (const part of await listPartsForForgetting(db, model)) {
    signal.throwIfAborted();
    const rows = await readPart(part.file, work);
    const gone = rows.filter(({ request }) => hasKey(request, roles));
    if (gone.length === 0) continue;
    const by = await rewritePart(rows, ({ request }) => !hasKey(request, roles), work);
    await db.transaction().execute(async (tx) => {
      if (!(await replacePart(tx, requestId, part, { by, rows: gone.length })))
        throw new Error(`the exported predictions of ${model} on ${part.day} changed meanwhile`);
      const ids = [...new Set(gone.map(({ predictionId }) => predictionId))];
      await addRemoved(tx, requestId, 'predictions', await removeOutcomes(tx, model, ids));
    });
  }
}

export async function countExported(
  { db }: Pick<Dependencies, 'db'>,
  { model, roles }: { model: string; roles: KeyRoles },
  work: Pick<PredictionFileWork, 'blobs' | 'duckdb'>,
): Promise<number> {
  let found = 0;
  for (const part of await listPartsForForgetting(db, model))
    found += (await readPart(part.file, work)).filter(({ request }) => hasKey(request, roles)).length;
  return found;
}

/** As `matchSql` of `db/forget-rows.ts` says it of the table. */
function hasKey(request: LoggedPrediction['request'], { keys, values, tokens }: KeyRoles): boolean {
  return keys.some((names) =>
    names.every((name, i) => {
      const value = request[name];
      return value === values[i] || (typeof value === 'string' && tokens?.[i]?.includes(value) === true);
    }),
  );
}
