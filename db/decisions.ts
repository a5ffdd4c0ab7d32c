import { createHash } from 'node:crypto';
import { type Selectable, sql } from 'kysely';
import { canonicalJson } from '../domain/canonical-json.ts';
import { SerinError } from '../domain/errors.ts';
import type { Db } from './database.ts';
import type { DecisionTable } from './schema.ts';

/** One record of who or what decided what, on which evidence. */
export interface NewDecision {
  /** What it is about: `model/flight-delay/v2`, `rollout/flight-delay/2`, `project/flights`. */
  readonly subject: string;
  readonly kind: string;
  /** The principal of a token, or the workflow that decided. */
  readonly actor: string;
  readonly reason: string;
  readonly evidenceSha256: string | null;
  readonly payload: object;
  /** A retried recording with the same key is the same record. */
  readonly idempotencyKey: string;
  readonly decidedAt: number;
}

export interface Decision extends NewDecision {
  readonly seq: number;
  readonly prevHash: string;
  readonly hash: string;
}

const GENESIS = '0'.repeat(64);

/** Any number, distinct from the migrations' lock. */
const DECISION_LOCK = 7_361_002;

/**
 * Appends to the hash chain: hash = sha256(prevHash + canonical JSON of the record). Writers queue on an advisory lock, so
 * that the chain has no forks; the caller's transaction decides whether record and effect exist together.
 */
export async function appendDecision(db: Db, decision: NewDecision): Promise<Decision> {
  await sql`select pg_advisory_xact_lock(${DECISION_LOCK})`.execute(db);
  const existing = await db
    .selectFrom('decision')
    .selectAll()
    .where('idempotency_key', '=', decision.idempotencyKey)
    .executeTakeFirst();
  if (existing) return fromRow(existing);
  const last = await db.selectFrom('decision').select('hash').orderBy('seq', 'desc').limit(1).executeTakeFirst();
  const prevHash = last?.hash ?? GENESIS;
  const row = await db
    .insertInto('decision')
    .values({
      subject: decision.subject,
      kind: decision.kind,
      actor: decision.actor,
      reason: decision.reason,
      evidence_sha256: decision.evidenceSha256,
      payload: JSON.stringify(decision.payload),
      idempotency_key: decision.idempotencyKey,
      decided_at: decision.decidedAt,
      prev_hash: prevHash,
      hash: decisionHash(prevHash, decision),
    })
    .returningAll()
    .executeTakeFirstOrThrow();
  return fromRow(row);
}

export async function findDecision(db: Db, idempotencyKey: string): Promise<Decision | undefined> {
  const row = await db
    .selectFrom('decision')
    .selectAll()
    .where('idempotency_key', '=', idempotencyKey)
    .executeTakeFirst();
  return row && fromRow(row);
}

export function decisionHash(prevHash: string, decision: NewDecision): string {
  const { subject, kind, actor, reason, evidenceSha256, payload, idempotencyKey, decidedAt } = decision;
  const record = canonicalJson({ subject, kind, actor, reason, evidenceSha256, payload, idempotencyKey, decidedAt });
  return createHash('sha256').update(prevHash).update(record).digest('hex');
}

/** Walks the whole chain; throws AUDIT_BROKEN at the first record whose content or link does not hold. */
export async function verifyDecisions(db: Db): Promise<{ records: number; head: string }> {
  const page = 1_000;
  let prevHash = GENESIS;
  let records = 0;
  for (let after = 0; ;) {
    const rows = await db
      .selectFrom('decision')
      .selectAll()
      .where('seq', '>', after)
      .orderBy('seq')
      .limit(page)
      .execute();
    for (const row of rows) {
      const decision = fromRow(row);
      if (decision.prevHash !== prevHash) {
        throw new SerinError(
          'AUDIT_BROKEN',
          `decision ${decision.seq} does not follow the one before it: a record was removed or reordered`,
        );
      }
      if (decision.hash !== decisionHash(prevHash, decision)) {
        throw new SerinError(
          'AUDIT_BROKEN',
          `decision ${decision.seq} (${decision.kind} of ${decision.subject}) was changed after it was written`,
        );
      }
      prevHash = decision.hash;
      after = decision.seq;
      records += 1;
    }
    if (rows.length < page) return { records, head: prevHash };
  }
}

export async function listDecisions(
  db: Db,
  { subject, after = 0, limit = 100 }: { subject?: string; after?: number; limit?: number },
): Promise<Decision[]> {
  let query = db.selectFrom('decision').selectAll().where('seq', '>', after).orderBy('seq').limit(limit);
  if (subject !== undefined) query = query.where('subject', '=', subject);
  return (await query.execute()).map(fromRow);
}

function fromRow(row: Selectable<DecisionTable>): Decision {
  return {
    seq: row.seq,
    subject: row.subject,
    kind: row.kind,
    actor: row.actor,
    reason: row.reason,
    evidenceSha256: row.evidence_sha256,
    payload: row.payload,
    idempotencyKey: row.idempotency_key,
    decidedAt: row.decided_at,
    prevHash: row.prev_hash,
    hash: row.hash,
  };
}
