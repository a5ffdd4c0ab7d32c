/** The statements of the PostgreSQL store, and the rows they answer (in `rowMode: 'array'`; int8 comes as `pg` is set to). */

export type CursorRow = readonly [
  viewId: string,
  source: string | null,
  appliedSeq: unknown,
  foldedAt: unknown,
  ...rest: unknown[],
];
/**
 * As text, bytes in hex. Of a view that exists, the cursor: applied sequence, the two slots and the fold point (int8,
 * int4, int4, int8, big endian);
 * of one with states, those: for each the key's length (int4), the key, the state's length, the state. Null: there are none.
 */
export type ReadRow = readonly [view: string, isCursor: 't' | 'f', bytes: string | null];
export type SnapshotRow = readonly [
  place: number,
  state: Buffer | null,
  viewId: string,
  source: string | null,
  appliedSeq: unknown,
  foldedAt: unknown,
  revision: unknown,
  statesSlot: number,
  rowsSlot: number,
];
export type MovedRow = readonly [statesSlot: number, rowsSlot: number];
export type DumpRow = readonly [key: Buffer, state: Buffer];

/** Earlier versions wrote this where nothing was folded. */
export const NEVER_FOLDED = -Number.MAX_SAFE_INTEGER;

/**
 * The keys of each view are one walk of the index, for which the connection must rule out scans of the table (`CONNECTION`):
 * a plan that was made while the table was small would stay. What is found comes in one piece: hundreds of rows cost the
 * client more than the server takes to find them. Parameters: the view ids, then for each its slot and its keys.
 */
export function readSql(views: number): string {
  const states = Array.from(
    { length: views },
    (_, i) =>
      `select ${i}, false, string_agg(int4send(octet_length(key)) || key || int4send(octet_length(state)) || state, ''::bytea)
       from online_state where slot = $${2 + 2 * i}::int4 and key = any($${3 + 2 * i}::bytea[])`,
  );
  return `
    select array_position($1::text[], view_id) - 1, true,
      int8send(coalesce(applied_seq, ${NEVER_FED})) || int4send(states_slot) || int4send(rows_slot) ||
      int8send(coalesce(folded_at, ${NEVER_FOLDED}))
    from online_cursor where view_id = any($1)
    union all ${states.join(' union all ')}`;
}

/** In place of an applied sequence. */
export const NEVER_FED = -1;

/** One plan for each statement, made once, that walks the index. */
export const CONNECTION = 'set enable_seqscan = off; set plan_cache_mode = force_generic_plan';

/** `lateral` with a limit: one index probe per key, whatever the planner thinks of the table's size. */
export const SNAPSHOT = `
  select r.place::int4, s.state, null::text, null::text, null::int8, null::int8, null::int8, null::int4, null::int4
  from unnest($1::int4[], $2::bytea[]) with ordinality as r (slot, key, place)
  cross join lateral (select state from online_state o where o.slot = r.slot and o.key = r.key limit 1) s
  union all
  select 0, null, c.view_id, c.source, c.applied_seq, c.folded_at, c.revision, c.states_slot, c.rows_slot
  from online_cursor c where c.view_id = $3`;

export const CURSORS = 'select view_id, source, applied_seq, folded_at from online_cursor where view_id = any($1)';

export const SLOTS = 'select states_slot, rows_slot from online_cursor where view_id = $1';

/**
 * One statement: the cursor moves if it is at the expected revision, and rows are written if it moved. A writer that
 * waited for another's row lock looks at the revision again. Answers the slots, or nothing.
 */
export function commitSql({ isNew, deletes }: { readonly isNew: boolean; readonly deletes: boolean }): string {
  const put = isNew ? 5 : 6;
  const moved = isNew
    ? `insert into online_cursor (view_id, source, applied_seq, folded_at) values ($1, $2, $3, $4)
       on conflict (view_id) do nothing`
    : `update online_cursor set source = $2, applied_seq = $3, folded_at = $4, revision = revision + 1
       where view_id = $1 and revision = $5`;
  return `
    with moved as (${moved} returning states_slot, rows_slot),
    ${deletes ? `gone as (${deleteSql(put + 7)}),` : ''}
    put as (${putSql('moved', put)})
    select states_slot, rows_slot from moved`;
}

/** More of a commit, in its transaction. */
export const PUT = putSql('(values ($1::int4, $2::int4)) as m (states_slot, rows_slot)', 3);

function putSql(slots: string, from: number): string {
  const [keys, states, isRow, keyAt, keyBytes, stateAt, stateBytes] = Array.from(
    { length: 7 },
    (_, i) => `$${from + i}`,
  );
  return `
    insert into online_state (slot, key, state)
    select case when e.is_row then rows_slot else states_slot end,
      substring(${keys}::bytea from e.key_at for e.key_bytes), substring(${states}::bytea from e.state_at for e.state_bytes)
    from ${slots}, unnest(${isRow}::bool[], ${keyAt}::int4[], ${keyBytes}::int4[], ${stateAt}::int4[], ${stateBytes}::int4[])
      as e (is_row, key_at, key_bytes, state_at, state_bytes)
    on conflict (slot, key) do update set state = excluded.state`;
}

/** By row address, so that each key is one index probe and the join cannot become a scan. */
function deleteSql(from: number): string {
  return `
    delete from online_state where ctid = any(array(
      select o.ctid from moved, unnest($${from}::bool[], $${from + 1}::bytea[]) as d (is_row, key)
      cross join lateral (
        select ctid from online_state i
        where i.slot = case when d.is_row then rows_slot else states_slot end and i.key = d.key limit 1
      ) o))`;
}

export const OPEN_CURSORS =
  'insert into online_cursor (view_id) select unnest($1::text[]) order by 1 on conflict (view_id) do nothing';

export const LOCK_CURSORS = 'select 1 from online_cursor where view_id = any($1) order by view_id for update';

/** With both rows locked. The revision of both becomes one that neither had. Two rows, or the guard refused. */
export const EXCHANGE = `
  update online_cursor c
  set source = o.source, applied_seq = o.applied_seq, folded_at = o.folded_at,
    states_slot = o.states_slot, rows_slot = o.rows_slot, revision = greatest(c.revision, o.revision) + 1
  from online_cursor o
  where c.view_id in ($1, $2) and o.view_id = case when c.view_id = $1 then $2 else $1 end
    and (not $3::bool or coalesce((select applied_seq from online_cursor where view_id = $1), -1)
      <= coalesce((select applied_seq from online_cursor where view_id = $2), -1))
    and ($4::int8 is null or (select revision from online_cursor where view_id = $2) = $4::int8)`;

export const DROP_ROWS = `
  delete from online_state where ctid = any(array(
    select o.ctid from online_cursor c join online_state o on o.slot in (c.states_slot, c.rows_slot)
    where c.view_id = $1 limit $2))`;

export const DROP_CURSOR = 'delete from online_cursor where view_id = $1';

export const DUMP = `
  select key, state from online_state where slot = $1 and ($2::bytea is null or key > $2) order by key limit $3`;
