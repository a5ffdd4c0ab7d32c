/** Predictions that are asked for now and answered later: what was asked until it is answered, what was answered until it is forgotten. */
import type { Selectable } from 'kysely';
import { SerinError } from '../domain/errors.ts';
import type { Db } from './database.ts';
import type { AsyncPredictionTable } from './schema.ts';

export interface AsyncPrediction {
  readonly id: string;
  readonly model: string;
  readonly principal: string;
  /** Body for the predict route; null once it is answered. */
  readonly request: object | null;
  readonly callback: { readonly url: string; readonly secret: string | null } | null;
  /** How long an answer is kept after it was given. */
  readonly keepSeconds: number;
  readonly status: 'waiting' | 'answered' | 'failed';
  /** The answer of the predict route, or its problem; null while it waits. */
  readonly answer: object | null;
  readonly askedAt: number;
  readonly endedAt: number | null;
  readonly deliveredAt: number | null;
  /** Why the last attempt to deliver it failed; null: none has, or one has succeeded. */
  readonly deliveryFailure: string | null;
}

/** Keeps what is asked; the same id again is the same question. @throws SerinError INPUT_INVALID when it was another one */
export async function putAsyncPrediction(
  db: Db,
  asked: Pick<AsyncPrediction, 'id' | 'model' | 'principal' | 'callback' | 'keepSeconds' | 'askedAt'> & {
    readonly request: object;
    readonly requestDigest: string;
  },
): Promise<AsyncPrediction> {
  const { id, model, principal, request, requestDigest, callback, keepSeconds, askedAt } = asked;
  await db
    .insertInto('async_prediction')
    .values({
      id,
      model,
      principal,
      request: JSON.stringify(request),
      request_digest: requestDigest,
      callback_url: callback?.url ?? null,
      callback_secret: callback?.secret ?? null,
      keep_seconds: keepSeconds,
      status: 'waiting',
      answer: null,
      asked_at: askedAt,
      ended_at: null,
      delivered_at: null,
      delivery_failure: null,
    })
    .onConflict((conflict) => conflict.column('id').doNothing())
    .execute();
  const row = await db.selectFrom('async_prediction').selectAll().where('id', '=', id).executeTakeFirst();
  if (row === undefined) throw gone(id);
  if (row.request_digest === requestDigest) return fromRow(row);
  throw new SerinError('INPUT_INVALID', 'the Idempotency-Key was used for another prediction: choose a new one', {
    fields: { field: 'idempotency-key' },
  });
}

/** @throws SerinError NOT_FOUND */
export async function getAsyncPrediction(db: Db, id: string): Promise<AsyncPrediction> {
  const row = await db.selectFrom('async_prediction').selectAll().where('id', '=', id).executeTakeFirst();
  if (row === undefined) throw gone(id);
  return fromRow(row);
}

/** The first answer stays; what was asked is forgotten with it. */
export async function answerAsyncPrediction(
  db: Db,
  { id, status, answer, at }: { id: string; status: 'answered' | 'failed'; answer: object; at: number },
): Promise<void> {
  await db
    .updateTable('async_prediction')
    .set({ status, answer: JSON.stringify(answer), request: null, ended_at: at })
    .where('id', '=', id)
    .where('status', '=', 'waiting')
    .execute();
}

/** @param failure null: it was delivered */
export async function noteDelivery(
  db: Db,
  { id, at, failure }: { id: string; at: number; failure: string | null },
): Promise<void> {
  await db
    .updateTable('async_prediction')
    .set(
      failure === null
        ? { delivered_at: at, delivery_failure: null, callback_secret: null }
        : { delivery_failure: failure },
    )
    .where('id', '=', id)
    .execute();
}

export async function removeAsyncPrediction(db: Db, id: string): Promise<void> {
  await db.deleteFrom('async_prediction').where('id', '=', id).execute();
}

function gone(id: string): SerinError {
  return new SerinError(
    'NOT_FOUND',
    `there is no prediction "${id}"; answers are kept for the time that was asked for`,
  );
}

function fromRow(row: Selectable<AsyncPredictionTable>): AsyncPrediction {
  return {
    id: row.id,
    model: row.model,
    principal: row.principal,
    request: row.request,
    callback: row.callback_url === null ? null : { url: row.callback_url, secret: row.callback_secret },
    keepSeconds: row.keep_seconds,
    status: row.status,
    answer: row.answer,
    askedAt: row.asked_at,
    endedAt: row.ended_at,
    deliveredAt: row.delivered_at,
    deliveryFailure: row.delivery_failure,
  };
}
