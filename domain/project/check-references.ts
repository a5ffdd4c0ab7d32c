/** What the names of a project refer to, and whether the types on both ends agree. */
import { nameClash, refuse } from '../features/definition-rules.ts';
import { assumesAvailability } from './availability.ts';
import { specInvalid } from '../rollout/checked-fields.ts';
import { checkType, fitsType } from './check-expression.ts';
import { checkFeatureSet } from './check-feature-set.ts';
import { checkKey } from './check-key.ts';
import { checkLabel } from './check-label.ts';
import { checkModel } from './check-model.ts';
import { checkServing } from './check-serving.ts';
import { ANY_TYPE, type Definitions, definitionsOf, nameOf, type Types, typesOf } from './definitions.ts';
import { checkDistinct, resolve } from './names.ts';
import { operandTypes, outputNames, outputType } from './output-type.ts';
import { versioned } from './spec.ts';
import type { AggregateSpec, FeatureViewSpec, ProjectSpec, SourceSpec, SpineQuerySpec, SpineSpec } from './spec.ts';

export function checkReferences(spec: ProjectSpec): void {
  const definitions = definitionsOf(spec);
  for (const source of spec.sources) checkSource(source);
  for (const entity of spec.entities)
    checkDistinct(entity.keys.map(nameOf), `entities.${entity.name}.keys`, 'key part');
  for (const view of spec.views) checkView(view, definitions);
  for (const set of spec.featureSets) checkFeatureSet(set, definitions);
  for (const spine of spec.spines) checkSpine(spine, definitions);
  for (const label of spec.labels) checkLabel(label, definitions);
  for (const model of spec.models) checkModel(model, definitions);
  checkServing(spec.models, definitions);
}

function checkSource(source: SourceSpec): void {
  const path = `sources.${source.name}`;
  checkDistinct(source.columns.map(nameOf), `${path}.columns`, 'column');
  const columns = new Map(source.columns.map((column) => [column.name, column]));
  const eventAt = resolve(source.eventAt, columns, `${path}.eventAt`, 'column');
  if (eventAt.type !== 'ts')
    throw specInvalid(`${path}.eventAt`, source.eventAt, `it must name a ts column, this one is ${eventAt.type}`);
  if (eventAt.nullable)
    throw specInvalid(`${path}.columns.${eventAt.name}.nullable`, true, 'the column of eventAt is never null');
  checkType(source.availableAt, typesOf(source.columns), ['ts'], `${path}.availableAt`);
  checkDistinct(source.eventId, `${path}.eventId`, 'column');
  for (const name of source.eventId) resolve(name, columns, `${path}.eventId`, 'column');
  const { operation } = source;
  if (operation === undefined) return;
  const column = resolve(operation.column, columns, `${path}.operation.column`, 'column');
  if (column.type !== 'str')
    throw specInvalid(`${path}.operation.column`, column.name, `it must name a str column, this one is ${column.type}`);
  if (operation.retract !== null && source.revisions !== 'versions') {
    throw specInvalid(
      `${path}.operation.retract`,
      operation.retract,
      "a retraction is a later version of an event, so it needs revisions: 'versions'",
    );
  }
}

function checkView(view: FeatureViewSpec, { sources, entities }: Definitions): void {
  const path = `views.${versioned(view)}`;
  const source = resolve(view.source, sources, `${path}.source`, 'source');
  const entity = resolve(view.entity, entities, `${path}.entity`, 'entity');
  const types = typesOf(source.columns);
  checkKey(view.key, types, entity, `${path}.key`, 'column');
  checkDistinct(view.features.map(nameOf), `${path}.features`, 'feature');
  for (const feature of view.features) checkAggregate(feature, types, `${path}.features.${feature.name}`);
  refuse(nameClash(view.features.flatMap(outputNames)), `${path}.features`);
  checkBoundary(view, source, path);
}

/**
 * Where nobody recorded when an event became known, an inclusive view holds the very event that is being asked about. A
 * window of many events only leaks (the leakage gate looks for that on the rows); a latest value would be the answer itself.
 */
function checkBoundary(view: FeatureViewSpec, source: SourceSpec, path: string): void {
  if (view.boundary === 'exclusive' || !assumesAvailability(source)) return;
  const latest = view.features.find(({ fn }) => fn === 'latest');
  if (latest === undefined) return;
  throw specInvalid(
    `${path}.boundary`,
    view.boundary,
    `the source ${source.name} is declared available at its event time, ${source.eventAt}, so the latest value "${latest.name}" would be that of the event that is asked about; say boundary: 'exclusive', or declare in availableAt when an event is really known`,
  );
}

function checkAggregate(feature: AggregateSpec, types: Types, path: string): void {
  const { fn, of, where, by, windows } = feature;
  if (of !== null) checkType(of, types, operandTypes(fn) ?? [], `${path}.of`);
  if (where !== null) checkType(where, types, ['bool'], `${path}.where`);
  if (by !== undefined) checkType(by, types, ANY_TYPE, `${path}.by`);
  checkDistinct(windows.map(nameOf), `${path}.windows`, 'window');
  checkDefault(feature, types, `${path}.default`);
}

function checkDefault(feature: AggregateSpec, types: Types, path: string): void {
  const { default: otherwise } = feature;
  if (otherwise === null) return;
  const type = outputType(feature, types);
  if (typeof type !== 'string')
    throw specInvalid(path, otherwise, 'a list has no default: over no rows it is empty; null');
  if (!fitsType(otherwise, type))
    throw specInvalid(path, otherwise, `it must be null or a value of type ${type}, as the feature is`);
}

function checkSpine(spine: SpineSpec, { sources }: Definitions): void {
  const path = `spines.${spine.name}`;
  const types = typesOf(resolve(spine.source, sources, `${path}.source`, 'source').columns);
  if (spine.sql !== undefined) {
    checkSpineQuery(spine, spine.sql, sources, path);
    return;
  }
  checkType(spine.asOf, types, ['ts'], `${path}.asOf`);
  if (spine.where !== null) checkType(spine.where, types, ['bool'], `${path}.where`);
  checkDistinct(spine.request.map(nameOf), `${path}.request`, 'request field');
  for (const field of spine.request) checkType(field.value, types, ANY_TYPE, `${path}.request.${field.name}`);
}

/** What the query itself may say is looked at where DuckDB can parse it, before a dataset is built. */
function checkSpineQuery(
  spine: SpineSpec,
  { sources: read }: SpineQuerySpec,
  sources: Definitions['sources'],
  path: string,
): void {
  for (const [index, name] of read.entries()) resolve(name, sources, `${path}.sql.sources[${index}]`, 'source');
  checkDistinct(read, `${path}.sql.sources`, 'source');
  if (spine.source !== read[0])
    throw specInvalid(`${path}.source`, spine.source, `with sql it must be the first of its sources, ${read[0] ?? ''}`);
  if (spine.asOf.op !== 'column' || spine.asOf.name !== 'as_of')
    throw specInvalid(`${path}.asOf`, spine.asOf, 'with sql it must be the column as_of of the query');
  if (spine.where !== null) throw specInvalid(`${path}.where`, spine.where, 'with sql the query says which rows: null');
  if (spine.request.length > 0)
    throw specInvalid(
      `${path}.request`,
      spine.request,
      'with sql the query gives the request fields by their names: []',
    );
}
