import type { Kysely } from 'kysely';
import { raiseAlert, resolveOthers } from '../db/monitors.ts';
import type { Tables } from '../db/schema.ts';
import { type FreshnessOfView, listFreshness } from '../db/view-freshness.ts';
import type { FreshnessClock } from '../domain/features/view-freshness.ts';
import type { Logger } from '../platform/logger.ts';

const EVERY_MS = 30_000;
const RUNBOOK = 'docs/runbooks/stale-features.md';
/** The monitors that alerts are raised under; their subject is the view. */
export const FRESHNESS_MONITORS: Readonly<Record<FreshnessClock, string>> = {
  data: 'feature-freshness-data',
  pipeline: 'feature-freshness-pipeline',
};

export interface FreshnessWatch {
  stop(): Promise<void>;
}

/**
 * Looks again and again. What it knows is in the database, so any number of workers may watch: a view has one open alert for
 * each clock, and whoever looks next raises or resolves it.
 */
export function startFreshnessWatch({
  db,
  logger,
  now,
}: {
  db: Kysely<Tables>;
  logger: Logger;
  now: () => number;
}): FreshnessWatch {
  let looking = Promise.resolve();
  const look = (): void => {
    looking = looking
      .then(() => watchFreshness(db, now()))
      .catch((error: unknown) => {
        logger.error({ err: error }, 'the freshness of the online views could not be looked at; it is tried again');
      });
  };
  look();
  const timer = setInterval(look, EVERY_MS);
  return {
    async stop() {
      clearInterval(timer);
      await looking;
    },
  };
}

/** One look: raises an alert for each view and clock that is older than the SLA allows, and resolves those that are fresh again. */
export async function watchFreshness(db: Kysely<Tables>, now: number): Promise<void> {
  const views = await listFreshness(db, now);
  for (const clock of ['data', 'pipeline'] as const) {
    const monitor = FRESHNESS_MONITORS[clock];
    const breached = views.filter((view) => view.breached.includes(clock));
    for (const view of breached) {
      await raiseAlert(db, {
        alertId: `${monitor}/${view.view}/${now}`,
        model: view.view,
        monitor,
        severity: 'warning',
        owner: view.owner,
        runbook: RUNBOOK,
        sentence: sentenceOf(view, clock),
        raisedAt: now,
      });
    }
    await resolveOthers(db, { monitor, firing: breached.map(({ view }) => view), at: now });
  }
}

function sentenceOf(view: FreshnessOfView, clock: FreshnessClock): string {
  const allowed = `${view.slaSeconds} s are allowed`;
  if (clock === 'data')
    return `the newest event in ${view.view} is ${Math.round(view.dataAgeSeconds!)} s old; ${allowed}`;
  return `an event of ${view.source} has waited ${Math.round(view.waitingSeconds)} s to be in ${view.view}; ${allowed}`;
}
