/**
 * What a project's author imports: `import { source, featureView, project, … } from 'serin'`. Each function takes a typed
 * definition and returns an object that later ones refer to; `project()` compiles what it can reach to the plain JSON of
 * `spec.ts`. A misspelt column, a text used as a number or a request field that the spine lacks does not compile.
 */
export * from './authoring/aggregates.ts';
export { days, hours, inMs, micros, minutes, seconds, type Duration } from './authoring/durations.ts';
export { featureSet, type FeatureRow, type FeatureSet } from './authoring/feature-set.ts';
export { label, type Label } from './authoring/label.ts';
export { model, monitor, training, type Model, type SplitDefinition, type Training } from './authoring/model.ts';
export { project } from './authoring/project.ts';
export { column, source, type ColumnDefinition, type RowOf, type Source } from './authoring/source.ts';
export { spine, spineQuery, type Spine } from './authoring/spine.ts';
export { literal } from './authoring/terms.ts';
export type { Condition, Instant, Numeric, Term, Text, ValueOf } from './authoring/terms.ts';
export { entity, featureView, type Entity, type FeatureView, type PickedView } from './authoring/view.ts';
export type { GateSpec } from '../gates/gate-spec.ts';
export type { RolloutPolicyInput } from '../rollout/policy.ts';
export type { ProjectSpec } from './spec.ts';
