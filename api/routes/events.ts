import { Type } from 'typebox';
import { type BufferedEvent, getLastSequence, getNewestBuffered } from '../../db/ingest.ts';
import { createSourceContracts } from '../../db/source-contracts.ts';
import type { RowReason } from '../../domain/features/row-contract.ts';
import { openEventIndex } from '../../platform/event-index.ts';
import { may } from '../access.ts';
import type { ApiContext } from '../context.ts';
import { createEventIntake } from '../event-intake.ts';
import { answers, type Api, Body, Instant, Maybe, readInstant, SourceName } from '../route-schema.ts';

const EVENTS_MAX = 5_000;
const APPLIED_WAIT_MS = 5_000;

export const Reason = Type.Object({
  code: Type.String(),
  column: Maybe(Type.String()),
  value: Type.Unknown(),
  rule: Type.String(),
});

const Refused = Type.Object({
  index: Type.Integer({ description: 'Position in the request.' }),
  reasons: Type.Array(Reason),
});

export function registerEventRoutes(api: Api, { db, blobs, applied, closing, now }: ApiContext): void {
  const contractOf = createSourceContracts(db);
  const index = openEventIndex(blobs);
  const intake = createEventIntake(db, index);
  closing.addEventListener('abort', () => index.close(), { once: true });

  api.post(
    '/sources/:source/events',
    {
      config: may.feed,
      schema: {
        tags: ['sources'],
        summary: 'Push events as they become known',
        description:
          'Each event is checked by the contract of its source. Good ones are kept even if others are refused; one that was taken in before, whenever and by whatever way, is not kept twice. In a source with versions only the very same row is the same; in one with an operation column a row may retract an event or end a key.',
        params: Type.Object({ source: SourceName }),
        querystring: Type.Object({
          wait: Type.Optional(
            Type.Enum(['applied'], {
              description: `Answer when the online views have applied the events, or after ${APPLIED_WAIT_MS / 1_000} s.`,
            }),
          ),
        }),
        body: Body(
          {
            events: Type.Array(Type.Record(Type.String(), Type.Unknown()), { minItems: 1, maxItems: EVENTS_MAX }),
            clockAt: Type.Optional(Instant),
          },
          {
            examples: [
              {
                events: [{ date: '2001-06-01T06:10:00Z', delay: 12, distance: 405, origin: 'SEA', destination: 'SFO' }],
              },
            ],
          },
        ),
        response: answers(
          {
            200: {
              description: 'What became of the events.',
              schema: Type.Object({
                accepted: Type.Integer({ description: 'Kept, now or before.' }),
                added: Type.Integer({ description: 'New among them.' }),
                forgotten: Type.Optional(
                  Type.Integer({ description: 'Left out, because their keys were forgotten; absent: none.' }),
                ),
                rejected: Type.Array(Refused),
                lastSeq: Type.Integer({ description: 'The newest sequence number of the source.' }),
                applied: Type.Optional(
                  Type.Boolean({ description: 'With wait=applied: whether the online views have them.' }),
                ),
              }),
            },
          },
          ['SOURCE_NOT_FOUND', 'TIME_NO_ZONE', 'TIME_INVALID', 'TIME_PRECISION', 'OVERLOADED'],
        ),
      },
    },
    async ({ params: { source }, query, body }) => {
      const contract = await contractOf(source);
      const clockAt = body.clockAt === undefined ? now() : readInstant(body.clockAt, 'body/clockAt');
      const good: BufferedEvent[] = [];
      const rejected: { index: number; reasons: readonly RowReason[] }[] = [];
      for (const [at, event] of body.events.entries()) {
        const admission = contract.admit(event, clockAt);
        if (admission.ok) good.push(admission.event);
        else rejected.push({ index: at, reasons: admission.reasons });
      }
      if (good.length === 0) return { accepted: 0, added: 0, rejected, lastSeq: await getLastSequence(db, source) };
      const { lastSeq, added, forgotten } = await intake.push(source, good);
      const accepted = good.length - forgotten;
      const answer = { accepted, added, ...(forgotten > 0 && { forgotten }), rejected, lastSeq };
      if (query.wait === undefined) return answer;
      // numbers of events that were buffered before are left unused: the newest one that stands is what views can reach
      const newest = await getNewestBuffered(db, source, lastSeq);
      return { ...answer, applied: newest === undefined || (await applied.waitFor(source, newest, APPLIED_WAIT_MS)) };
    },
  );
}
