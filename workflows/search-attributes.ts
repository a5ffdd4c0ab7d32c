import { defineSearchAttributeKey, type SearchAttributePair } from '@temporalio/common';
import { upsertSearchAttributes } from '@temporalio/workflow';

/** Registered with the server before the first workflow starts (`platform/embedded/temporal.ts`, `docs/`): an unknown key hangs a workflow. */
export const MODEL_NAME = defineSearchAttributeKey('ModelName', 'KEYWORD');
export const MODEL_VERSION = defineSearchAttributeKey('ModelVersion', 'KEYWORD');
export const STAGE = defineSearchAttributeKey('Stage', 'KEYWORD');
export const DECISION = defineSearchAttributeKey('Decision', 'KEYWORD');

export function tagModel(model: string, version?: number): void {
  const pairs: SearchAttributePair[] = [{ key: MODEL_NAME, value: model }];
  if (version !== undefined) pairs.push({ key: MODEL_VERSION, value: `v${version}` });
  upsertSearchAttributes(pairs);
}

export function tagStage(stage: string, decision?: string): void {
  const pairs: SearchAttributePair[] = [{ key: STAGE, value: stage }];
  if (decision !== undefined) pairs.push({ key: DECISION, value: decision });
  upsertSearchAttributes(pairs);
}
