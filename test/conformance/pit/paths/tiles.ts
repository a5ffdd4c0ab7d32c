/**
 * The tile kernel on the part of a view that it can express, where a source's rows are events without corrections: the
 * same numbers as the history kernel's. Such a source is declared without revisions; views are cut down to the features
 * that `compileView` gives to tiles.
 */
import { compareInstants } from '../../../../domain/instant.ts';
import type { AggregateSpec } from '../../../../domain/project/spec.ts';
import { compileView } from '../../../../features/kernel/compiled-view.ts';
import {
  createState,
  foldTo,
  insert,
  read,
  readMissing,
  type ViewState,
} from '../../../../features/kernel/view-state.ts';
import type { ViewPlan } from '../../../../features/kernel/view-plan.ts';
import type { Row } from '../../../../domain/project/expression.ts';
import type { ViewRead } from '../answer.ts';
import type { WorldSource } from '../case-sources.ts';
import type { World, WorldView } from '../case-specs.ts';
import { keyText, type KeyText } from './arrivals.ts';

/** What the declared ranges allow, so that a sum of a window's rows is whole below 2^53. */
const LARGEST_VALUE = 2 ** 32;

/** @throws Error when the tiles give another value than `expected` */
export function checkTiles(
  world: World,
  view: WorldView,
  keys: readonly (KeyText | null)[],
  expected: readonly ViewRead[],
): void {
  const { source, spec } = view;
  if (!isPlain(world, source)) return;
  const { revisions: _, ...rest } = source.spec;
  const range = { min: -LARGEST_VALUE, max: LARGEST_VALUE };
  const columns = rest.columns.map((column) => (column.type === 'i64' ? { ...column, ...range } : column));
  const plain = { ...rest, columns };
  const fits = (feature: AggregateSpec): boolean =>
    compileView({ ...spec, features: [feature] }, plain, source.entity).kind === 'tiles';
  const features = spec.features.filter(fits);
  if (features.length === 0) return;
  const compiled = compileView({ ...spec, features }, plain, source.entity);
  if (compiled.kind !== 'tiles') return;
  const at = spec.features.flatMap((feature) =>
    Array.from({ length: Math.max(1, feature.windows.length) }, () => fits(feature)),
  );
  const tiled = at.flatMap((isTiled, output) => (isTiled ? [output] : []));
  const states = statesOf(compiled.plan, source);
  const { asOf } = world.spine;
  const rows = asOf.map((_at, row) => row).toSorted((a, b) => compareInstants(asOf[a]!, asOf[b]!));
  const out = new Float64Array(tiled.length);
  for (const row of rows) {
    const key = keys[row];
    const state = key === null || key === undefined ? undefined : states.get(key);
    if (state === undefined) readMissing(compiled.plan, out, 0);
    else {
      foldTo(compiled.plan, state, asOf[row] as number);
      read(compiled.plan, state, asOf[row] as number, out, 0);
    }
    tiled.forEach((output, i) => {
      const right = expected[row]!.values[output]!;
      const got = Number.isNaN(out[i]) ? null : out[i]!;
      if (got === right) return;
      throw new Error(
        `${compiled.plan.id} ${view.outputs[output]!.name} at spine row ${row}: tiles give ${got}, history ${String(right)}`,
      );
    });
  }
}

/** Events of a number's size, each there once and at times that a number holds. */
function isPlain(world: World, { spec, identity, rows }: WorldSource): boolean {
  if (spec.operation !== undefined) return false;
  const isSafe = (value: unknown): boolean => typeof value !== 'bigint';
  if (!world.spine.asOf.every(isSafe)) return false;
  const ids = rows.map(({ row }) => spec.eventId.map((name) => `${typeof row[name]} ${row[name]}`).join('\u0000'));
  if (identity !== 'append' && new Set(ids).size < ids.length) return false;
  return rows.every(({ eventAt, availableAt, row }) => {
    const values = spec.columns.filter(({ type }) => type === 'i64').map(({ name }) => row[name] ?? null);
    return (
      isSafe(eventAt) &&
      isSafe(availableAt) &&
      values.every((value) => value === null || (isSafe(value) && Math.abs(value as number) <= LARGEST_VALUE))
    );
  });
}

function statesOf(plan: ViewPlan, { rows }: WorldSource): Map<KeyText, ViewState> {
  const states = new Map<KeyText, ViewState>();
  const measures = new Float64Array(plan.measureCount);
  for (const { row, eventAt, availableAt } of rows) {
    const key = keyText(
      plan.keyParts,
      plan.keyColumns.map((column) => row[column]!),
    );
    if (key === null) continue;
    const state = states.get(key) ?? createState(plan);
    states.set(key, state);
    plan.measureRow(row as Row, measures, 0);
    insert(plan, state, eventAt as number, Math.max(eventAt as number, availableAt as number), measures, 0);
  }
  return states;
}
