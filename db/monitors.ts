import type { Db } from './database.ts';

export interface Alert {
  readonly alertId: string;
  readonly model: string;
  readonly monitor: string;
  readonly severity: 'warning' | 'critical';
  readonly status: 'firing' | 'resolved';
  readonly owner: string;
  readonly runbook: string;
  readonly sentence: string;
  readonly raisedAt: number;
  readonly resolvedAt: number | null;
}

/** Stores the report of a window; a retried window replaces its own report. */
export async function putMonitorWindow(
  db: Db,
  window: { model: string; monitor: string; windowStart: number; windowEnd: number; version: number; report: object },
): Promise<void> {
  const report = JSON.stringify(window.report);
  await db
    .insertInto('monitor_window')
    .values({
      model: window.model,
      monitor: window.monitor,
      window_start: window.windowStart,
      window_end: window.windowEnd,
      version: window.version,
      report,
    })
    .onConflict((conflict) =>
      conflict
        .columns(['model', 'monitor', 'window_start'])
        .doUpdateSet({ report, window_end: window.windowEnd, version: window.version }),
    )
    .execute();
}

/** Raises the monitor's alert, or brings the one that is firing up to date: one open alert per monitor. */
export async function raiseAlert(db: Db, alert: Omit<Alert, 'status' | 'resolvedAt'>): Promise<void> {
  await db
    .insertInto('alert')
    .values({
      alert_id: alert.alertId,
      model: alert.model,
      monitor: alert.monitor,
      severity: alert.severity,
      status: 'firing',
      owner: alert.owner,
      runbook: alert.runbook,
      sentence: alert.sentence,
      raised_at: alert.raisedAt,
      resolved_at: null,
    })
    .onConflict((conflict) =>
      conflict
        .columns(['model', 'monitor'])
        .where('status', '=', 'firing')
        .doUpdateSet({ severity: alert.severity, sentence: alert.sentence }),
    )
    .execute();
}

export async function resolveAlert(
  db: Db,
  { model, monitor, at }: { model: string; monitor: string; at: number },
): Promise<boolean> {
  const result = await db
    .updateTable('alert')
    .set({ status: 'resolved', resolved_at: at })
    .where('model', '=', model)
    .where('monitor', '=', monitor)
    .where('status', '=', 'firing')
    .executeTakeFirst();
  return result.numUpdatedRows > 0n;
}

/** Resolves what fires under a monitor, but for those of `firing`. */
export async function resolveOthers(
  db: Db,
  { monitor, firing, at }: { monitor: string; firing: readonly string[]; at: number },
): Promise<void> {
  let query = db
    .updateTable('alert')
    .set({ status: 'resolved', resolved_at: at })
    .where('monitor', '=', monitor)
    .where('status', '=', 'firing');
  if (firing.length > 0) query = query.where('model', 'not in', firing);
  await query.execute();
}

export async function listAlerts(
  db: Db,
  { model, status }: { model?: string; status?: 'firing' | 'resolved' },
): Promise<Alert[]> {
  let query = db.selectFrom('alert').selectAll().orderBy('raised_at', 'desc').limit(200);
  if (model !== undefined) query = query.where('model', '=', model);
  if (status !== undefined) query = query.where('status', '=', status);
  const rows = await query.execute();
  return rows.map((row) => ({
    alertId: row.alert_id,
    model: row.model,
    monitor: row.monitor,
    severity: row.severity,
    status: row.status,
    owner: row.owner,
    runbook: row.runbook,
    sentence: row.sentence,
    raisedAt: row.raised_at,
    resolvedAt: row.resolved_at,
  }));
}
