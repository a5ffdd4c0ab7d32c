/** Fills Serin's store through its own write path, and a hand-written one beside it with the same bytes. */
import { createClient, RESP_TYPES } from '@redis/client';
import pg from 'pg';
import type { ProjectSpec } from '../../domain/project/spec.ts';
import { compileViewOf } from '../../features/kernel/compiled-view.ts';
import { encodeKey } from '../../features/kernel/key-encoding.ts';
import { applyToView, type PushedEvent } from '../../features/online/apply-events.ts';
import type { OnlineStore } from '../../features/online/online-store.ts';
import { valueOf } from './reading-project.ts';

const BATCH = 5_000;

/** One event per customer and view. @returns states written a second, from events to committed states */
export async function fillSerin(store: OnlineStore, project: ProjectSpec, customers: number): Promise<number> {
  const at = Date.now() * 1_000 - 60_000_000;
  const begun = performance.now();
  for (const [v, { name, features }] of project.views.entries()) {
    const view = compileViewOf(project, `${name}@1`);
    for (let from = 0; from < customers; from += BATCH) {
      const toSeq = Math.min(from + BATCH, customers);
      const events = Array.from({ length: toSeq - from }, (_, i): PushedEvent => {
        const customer = from + i;
        const row: Record<string, number> = { row: customer, at, customer };
        features.forEach((feature, f) => (row[feature.name] = valueOf(v, f, customer)));
        return { seq: customer + 1, eventAt: at, availableAt: at, clockAt: at, row };
      });
      await applyToView({ view, events, fromSeqExclusive: from, toSeq, store });
    }
  }
  return (project.views.length * customers) / ((performance.now() - begun) / 1_000);
}

/** A store such as one would write by hand: payloads by view and customer, read in one round trip. */
export interface HandStore {
  /** @returns payloads, of each customer those of all views */
  read(customers: readonly number[]): Promise<readonly unknown[]>;
  /** `read`, and the numbers in the payloads. */
  readNumbers(customers: readonly number[]): Promise<readonly (readonly number[])[]>;
  close(): Promise<void>;
}

/** The bytes that Serin keeps of each key, and the same values as JSON. */
async function payloads(store: OnlineStore, project: ProjectSpec, view: number, customers: number) {
  const { name, features } = project.views[view]!;
  const refs = Array.from({ length: customers }, (_, customer) => ({
    viewId: `${name}@1`,
    key: encodeKey([{ name: 'customer', type: 'i64' }], [customer])!,
  }));
  const { states } = await store.read(refs);
  return states.map((state, customer) => ({
    state: Buffer.from(state!),
    json: JSON.stringify(features.map((_, f) => valueOf(view, f, customer))),
  }));
}

export async function fillRedisByHand(
  url: string,
  store: OnlineStore,
  project: ProjectSpec,
  customers: number,
): Promise<HandStore> {
  const client = createClient({ url, RESP: 2, commandOptions: { typeMapping: { [RESP_TYPES.BLOB_STRING]: Buffer } } });
  client.on('error', () => undefined);
  await client.connect();
  const views = project.views.map((_, v) => v);
  for (const v of views) {
    const values = await payloads(store, project, v, customers);
    await Promise.all(
      values.flatMap(({ state, json }, c) => [client.set(`hand:${v}:${c}`, state), client.set(`json:${v}:${c}`, json)]),
    );
  }
  return {
    read: (asked) =>
      client.mGet(asked.flatMap((c) => views.map((v) => `hand:${v}:${c}`))) as Promise<unknown> as Promise<unknown[]>,
    async readNumbers(asked) {
      const found = (await client.mGet(
        asked.flatMap((c) => views.map((v) => `json:${v}:${c}`)),
      )) as unknown as Buffer[];
      return found.map((bytes) => JSON.parse(bytes.toString('utf8')) as number[]);
    },
    close: () => client.close(),
  };
}

export async function fillPostgresByHand(
  url: string,
  store: OnlineStore,
  project: ProjectSpec,
  customers: number,
): Promise<HandStore> {
  const pool = new pg.Pool({ connectionString: url, max: 1 });
  const views = project.views.map((_, v) => v);
  for (const v of views) {
    const values = await payloads(store, project, v, customers);
    await pool.query(`create table hand_${v} (customer int8 primary key, payload bytea not null, json text not null)`);
    await pool.query(
      `insert into hand_${v} select c - 1, s, j from unnest($1::bytea[], $2::text[]) with ordinality as v (s, j, c)`,
      [values.map(({ state }) => state), values.map(({ json }) => json)],
    );
    await pool.query(`analyze hand_${v}`);
  }
  const sql = (column: string): string =>
    views.map((v) => `select ${v}, customer, ${column} from hand_${v} where customer = any($1)`).join(' union all ');
  const ask = async (name: string, asked: readonly number[]): Promise<[number, string, Buffer | string][]> =>
    (await pool.query<[number, string, Buffer | string]>({ name, text: sql(name), values: [asked], rowMode: 'array' }))
      .rows;
  return {
    read: (asked) => ask('payload', asked),
    async readNumbers(asked) {
      return (await ask('json', asked)).map(([, , json]) => JSON.parse(json as string) as number[]);
    },
    close: () => pool.end(),
  };
}
