import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { formatTime } from '../../../domain/features/time-text.ts';
import { MICROS_PER_HOUR } from '../../../domain/time.ts';
import { compileViewOf } from '../../../features/kernel/compiled-view.ts';
import { applyEvents } from '../../../features/online/apply-events.ts';
import { anOrder, type ServedShop, serveShop } from './served-shop.ts';
import { NOW, spec } from './shop.ts';

let shop: ServedShop;
beforeAll(async () => {
  shop = await serveShop();
});
afterAll(() => shop.close());

test.each([
  [{ a: '0.2' }, 'a', 'the field "a" is "0.2": a finite number'],
  [{ customer: 1.5 }, 'customer', 'the field "customer" is 1.5: a whole number'],
  [{ origin: 7 }, 'origin', 'the field "origin" is 7: text'],
  [{ b: undefined }, 'b', 'the field "b" is missing: the field is required'],
  [{ orign: 'SEA' }, 'orign', 'orign is "SEA": it is not a field of'],
  [{ asOf: '2026-01-01T00:00:00' }, 'asOf', 'a time needs Z or an offset'],
])('%j is a 400 that names the field', async (overrides, field, detail) => {
  const { status, problem } = await shop.ask({ instances: [anOrder(), anOrder(overrides)] });
  expect([status, problem.field]).toEqual([400, `instances/1/${field}`]);
  expect(problem.detail).toContain(detail);
});

describe('an instant that is asked for', () => {
  const at = (hoursAgo: number): number => NOW - hoursAgo * MICROS_PER_HOUR;

  beforeAll(async () => {
    const views = [compileViewOf(spec, 'activity@1')];
    const event = (seq: number, eventAt: number, amount: number) => ({
      seq,
      eventAt,
      availableAt: eventAt + 60_000_000,
      clockAt: null,
      row: { at: eventAt, customer: 1, origin: 'SEA', amount, returned: false },
    });
    const events = [event(1, at(10), 10), event(2, at(5), 20), event(3, at(2), 30)];
    await applyEvents({ views, events, fromSeqExclusive: 0, toSeq: 3, store: shop.features.store as never });
  });

  test.each([
    [11, 0, null],
    [9, 1, 10],
    [4, 2, 20],
    [1, 3, 30],
  ])('%d hours ago is answered by what was known then', async (hoursAgo, orders, amount) => {
    const { predictions } = await shop.ask(anOrder({ asOf: formatTime(at(hoursAgo)) }));
    expect(predictions[0]).toMatchObject({
      version: 0,
      score: orders * 0.125,
      readAt: formatTime(at(hoursAgo)),
      features: { customer__orders__24h: { value: orders }, customer__amount: { value: amount } },
    });
  });

  test('the age of a value is that of the event behind it', async () => {
    const { predictions } = await shop.ask(anOrder({ asOf: formatTime(at(4)) }));
    expect(predictions[0]!.features['customer__amount']).toEqual({ value: 20, status: 'present', ageSeconds: 3_600 });
    const unknown = await shop.ask(anOrder({ customer: 99, asOf: formatTime(at(4)) }));
    expect(unknown.predictions[0]!.features).toEqual({
      customer__orders__24h: { value: 0, status: 'not_found', ageSeconds: null },
      customer__amount: { value: null, status: 'not_found', ageSeconds: null },
    });
  });

  test('before the fold point it cannot be told: an error that names the point, and no answer is counted', async () => {
    // the sender's clock of a push moves the fold point to an hour before it
    const views = [compileViewOf(spec, 'activity@1')];
    const row = { at: at(1), customer: 1, origin: 'SEA', amount: 40, returned: false };
    const event = { seq: 4, eventAt: at(1), availableAt: at(1), clockAt: at(2), row };
    await applyEvents({ views, events: [event], fromSeqExclusive: 3, toSeq: 4, store: shop.features.store as never });

    const epoch = await shop.route({});
    const refused = await shop.ask(anOrder({ asOf: formatTime(at(9)) }));
    expect(refused).toMatchObject({
      status: 409,
      problem: {
        type: expect.stringContaining('AS_OF_UNREACHABLE') as string,
        foldedAt: formatTime(at(3)),
        detail: expect.stringContaining(formatTime(at(3))) as string,
      },
    });
    const many = await shop.ask({ instances: [anOrder(), anOrder({ id: 'old', asOf: formatTime(at(10)) })] });
    expect(many.problem).toMatchObject({ predictionId: 'old' });
    await shop.node.flush();
    expect(await shop.database.db.selectFrom('arm_tally').selectAll().where('epoch', '=', epoch).execute()).toEqual([]);

    expect((await shop.ask(anOrder({ asOf: formatTime(at(2.5)) }))).status).toBe(200);
    // whoever names no instant means the newest state
    expect((await shop.ask(anOrder())).status).toBe(200);
  });
});
