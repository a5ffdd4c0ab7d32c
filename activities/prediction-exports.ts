import {
  dropExported,
  exportedTo,
  listLoggedModels,
  listPartsWith,
  longestMonitorWindow,
  putExportedRange,
  readUnexported,
  settleLog,
} from '../db/prediction-exports.ts';
import type { LoggedPrediction } from '../db/predictions.ts';
import type { ExportedLog, ExportPredictionsInput } from '../workflows/messages.ts';
import { type Dependencies, withDuckDb } from './dependencies.ts';
import { withHeartbeat } from './heartbeat.ts';
import { readPart, writeParts } from './prediction-files.ts';

/** About this many rows are held in memory and written as one range. */
const RANGE_ROWS = 50_000;
const DROP_ROWS = 5_000;

/** Moves the prediction log into Parquet. A range counts once: when it is repeated, the files of one of the two are named by nothing. */
export function createPredictionExportActivities({ db, blobs, config, now }: Dependencies) {
  return {
    async listModelsToExport({ models }: Pick<ExportPredictionsInput, 'models'>): Promise<readonly string[]> {
      const logged = await listLoggedModels(db);
      return models === undefined ? logged : logged.filter((model) => models.includes(model));
    },

    /** Everything of a model that was recorded before `until`, as far as no row can come in before it any more. */
    async exportModelPredictions({ model, until }: { model: string; until: number | null }): Promise<ExportedLog> {
      return withHeartbeat(async ({ signal, progress }) => {
        const settled = await settleLog(db);
        const end = Math.min(until ?? settled, settled);
        let [rows, files] = [0, 0];
        for (;;) {
          signal.throwIfAborted();
          const from = await exportedTo(db, model);
          if (from >= end) return { model, rows, files, exportedTo: from };
          const next = await readUnexported(db, { model, from, until: end, limit: RANGE_ROWS });
          const about = { model, range: next.range, at: now() };
          const parts =
            next.rows.length === 0
              ? []
              : await withDuckDb(
                  config,
                  (duckdb) => writeParts(next.rows, about, { blobs, workDir: config.workDir, duckdb }),
                  signal,
                );
          // another export was faster: its ranges stand, and this one goes on behind them
          if (!(await putExportedRange(db, { model, range: next.range, parts }))) continue;
          rows += next.rows.length;
          files += parts.length;
          progress({ model, rows, files });
        }
      });
    },

    /** Takes rows out of the table that lie in Parquet; none that a monitor or a rollout under way may still look at. */
    async dropExportedPredictions({
      model,
      before,
    }: {
      model: string;
      before: number | null;
    }): Promise<{ rows: number; droppedTo: number }> {
      return withHeartbeat(async ({ progress }) => {
        // a window that is looked at late is as long as two
        const keptFrom = now() - 2 * (await longestMonitorWindow(db, model));
        return dropExported(db, { model, before: Math.min(before ?? keptFrom, keptFrom), batch: DROP_ROWS }, (rows) =>
          progress({ model, dropped: rows }),
        );
      });
    },

    /** The answers under an id that are no longer in the table; empty where there are none. */
    async findExportedPredictions({ predictionId }: { predictionId: string }): Promise<readonly LoggedPrediction[]> {
      return withHeartbeat(async ({ signal }) => {
        const parts = await listPartsWith(db, predictionId);
        return withDuckDb(
          config,
          async (duckdb) => {
            for (const { file } of parts) {
              const found = await readPart(file, { blobs, duckdb }, predictionId);
              if (found.length > 0) return found;
            }
            return [];
          },
          signal,
        );
      });
    },
  };
}
