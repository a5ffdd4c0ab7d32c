import type { Insertable } from 'kysely';
import type { Db } from './database.ts';
import type { ArmTallyTable } from './schema.ts';

export type ArmTallyRow = Insertable<ArmTallyTable>;

/** A flush that is sent twice (a lost answer, a retry) is one: its rows are already there. */
export async function insertTallies(db: Db, rows: readonly ArmTallyRow[]): Promise<void> {
  if (rows.length === 0) return;
  await db
    .insertInto('arm_tally')
    .values([...rows])
    .onConflict((conflict) => conflict.doNothing())
    .execute();
}
