/**
 * Every error Serin throws on purpose, in one table. The code is part of the API: it is the problem type over HTTP, the
 * failure type in a workflow and what the CLI prints. `docs/reference/errors.md` names the same codes (a test checks it).
 */
export const ERRORS = {
  // definitions
  SPEC_INVALID: { status: 422, retryable: false, title: 'The spec is invalid' },
  DUPLICATE_NAME: { status: 422, retryable: false, title: 'A name is used twice' },
  REFERENCE_MISSING: { status: 422, retryable: false, title: 'A reference points at nothing' },
  REFERENCE_CYCLE: { status: 422, retryable: false, title: 'References form a cycle' },
  BAD_DURATION: { status: 422, retryable: false, title: 'The duration makes no sense' },
  NAME_CLASH: { status: 422, retryable: false, title: 'Two outputs have one name' },
  BOUNDARY_MISMATCH: { status: 422, retryable: false, title: 'A view and a label split one source differently' },
  KEY_TYPE_MISMATCH: { status: 422, retryable: false, title: 'A key is joined to another type' },
  PROJECT_NOT_FOUND: { status: 404, retryable: false, title: 'There is no such project' },
  FEATURE_NOT_FOUND: { status: 404, retryable: false, title: 'There is no such feature' },
  DEFINITION_IN_USE: { status: 409, retryable: false, title: 'The definition is in use and cannot change' },
  // data
  INPUT_INVALID: { status: 400, retryable: false, title: 'The input is invalid' },
  COLUMN_UNKNOWN: { status: 422, retryable: false, title: 'The column is unknown' },
  COLUMN_TYPE: { status: 422, retryable: false, title: 'The column has the wrong type' },
  TIME_NO_ZONE: { status: 422, retryable: false, title: 'The time has no zone' },
  TIME_PRECISION: { status: 422, retryable: false, title: 'The time is finer than a microsecond' },
  TIME_AMBIGUOUS: { status: 422, retryable: false, title: 'The local time happens twice' },
  TIME_INVALID: { status: 422, retryable: false, title: 'The time does not exist' },
  SOURCE_NOT_FOUND: { status: 404, retryable: false, title: 'There is no such source' },
  BATCH_CONFLICT: { status: 409, retryable: false, title: 'The batch was ingested before with other bytes' },
  DATASET_NOT_FOUND: { status: 404, retryable: false, title: 'There is no such dataset' },
  DATASET_REDACTED: { status: 409, retryable: false, title: 'What the dataset was made from is no longer there' },
  DATASET_EMPTY: { status: 422, retryable: false, title: 'The dataset has no rows' },
  OUTPUT_EXISTS: { status: 409, retryable: false, title: 'The output folder holds something else' },
  INPUT_CHANGED: { status: 409, retryable: false, title: 'The input has changed while it was read' },
  MEMORY_LIMIT: { status: 507, retryable: false, title: 'The memory limit is too low for this' },
  ENTITY_NOT_FOUND: { status: 404, retryable: false, title: 'There is no such entity' },
  FORGET_INCOMPLETE: { status: 500, retryable: false, title: 'The entity is still somewhere' },
  // blobs
  BLOB_NOT_FOUND: { status: 404, retryable: false, title: 'The blob is missing' },
  BLOB_CORRUPT: { status: 500, retryable: false, title: 'The blob does not match its digest' },
  STORAGE_FULL: { status: 507, retryable: true, title: 'The disk is full' },
  // training and the registry
  RUN_NOT_FOUND: { status: 404, retryable: false, title: 'There is no such run' },
  TRAINING_INVALID: { status: 422, retryable: false, title: 'The training cannot be run as asked' },
  GATES_NOT_PASSED: { status: 409, retryable: false, title: 'The gates have not passed' },
  MODEL_NOT_FOUND: { status: 404, retryable: false, title: 'There is no such model' },
  VERSION_NOT_FOUND: { status: 404, retryable: false, title: 'There is no such model version' },
  MODEL_FILE_INVALID: { status: 422, retryable: false, title: 'The model file cannot be served' },
  STAGE_TRANSITION_REFUSED: { status: 409, retryable: false, title: 'The stage transition is not allowed' },
  STAGE_CONFLICT: { status: 409, retryable: false, title: 'The version has moved on' },
  // rollouts and routing
  ROLLOUT_NOT_FOUND: { status: 404, retryable: false, title: 'There is no such rollout' },
  ROLLOUT_ACTIVE: { status: 409, retryable: false, title: 'The model has a rollout under way' },
  ROLLOUT_ENDED: { status: 409, retryable: false, title: 'The rollout has ended' },
  COMMAND_REFUSED: { status: 409, retryable: false, title: 'The rollout does not take this command now' },
  APPROVAL_BY_AUTHOR: { status: 403, retryable: false, title: 'An author cannot approve their own version' },
  APPROVAL_STALE: { status: 409, retryable: false, title: 'The approval is for other evidence' },
  ROUTE_EPOCH_CONFLICT: { status: 409, retryable: false, title: 'The route has moved on' },
  ROUTE_NOT_FOUND: { status: 404, retryable: false, title: 'The model has no route' },
  // access
  UNAUTHENTICATED: { status: 401, retryable: false, title: 'The token is missing or unknown' },
  FORBIDDEN: { status: 403, retryable: false, title: 'The role does not allow this' },
  // serving
  NOT_FOUND: { status: 404, retryable: false, title: 'There is nothing at this address' },
  METHOD_NOT_ALLOWED: { status: 405, retryable: false, title: 'The address does not answer this method' },
  MODEL_NOT_READY: { status: 503, retryable: true, title: 'The model is not ready' },
  INFERENCE_FAILED: { status: 500, retryable: false, title: 'The model could not be run on this input' },
  AS_OF_UNREACHABLE: { status: 409, retryable: false, title: 'What was known then cannot be told any more' },
  OVERLOADED: { status: 503, retryable: true, title: 'There is no capacity for this now' },
  CALLBACK_REFUSED: { status: 422, retryable: false, title: 'The callback may not be made' },
  CALLBACK_FAILED: { status: 502, retryable: true, title: 'The callback was not taken' },
  RATE_LIMITED: { status: 429, retryable: true, title: 'The client asks too often' },
  MATERIALIZATION_MISMATCH: { status: 409, retryable: false, title: 'The view that was built is not that of the log' },
  MATERIALIZATION_OUTDATED: { status: 409, retryable: true, title: 'Entities were forgotten while the view was built' },
  MATERIALIZATION_GAP: { status: 409, retryable: false, title: 'Events that the build needs have left the buffer' },
  ONLINE_STORE_UNAVAILABLE: { status: 503, retryable: true, title: 'The online store does not answer' },
  // the platform
  CONFIG_INVALID: { status: 500, retryable: false, title: 'The configuration is invalid' },
  PREREQUISITE_MISSING: { status: 500, retryable: false, title: 'Something Serin needs is missing' },
  DATABASE_UNAVAILABLE: { status: 503, retryable: true, title: 'The database does not answer' },
  TEMPORAL_UNAVAILABLE: { status: 503, retryable: true, title: 'Temporal does not answer' },
  AUDIT_BROKEN: { status: 500, retryable: false, title: 'The decision log has been tampered with' },
  API_UNREACHABLE: { status: 503, retryable: true, title: 'The API does not answer' },
  WORKFLOW_FAILED: { status: 500, retryable: false, title: 'The workflow failed' },
  CANCELLED: { status: 499, retryable: false, title: 'The work was cancelled' },
} as const satisfies Record<string, { status: number; retryable: boolean; title: string }>;

export type ErrorCode = keyof typeof ERRORS;

export interface SerinErrorOptions {
  readonly cause?: unknown;
  /** Machine-readable context: the field, its value, the rule. Travels in problem+json. */
  readonly fields?: Readonly<Record<string, unknown>>;
}

/** An error a person can act on: `detail` names the field, the value, the rule and the way out. */
export class SerinError extends Error {
  readonly code: ErrorCode;
  readonly fields: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, detail: string, { cause, fields = {} }: SerinErrorOptions = {}) {
    super(detail, cause === undefined ? undefined : { cause });
    this.name = 'SerinError';
    this.code = code;
    this.fields = fields;
  }

  get status(): number {
    return ERRORS[this.code].status;
  }

  get retryable(): boolean {
    return ERRORS[this.code].retryable;
  }

  /** Milliseconds after which to try again, where who threw it knows (`fields.retryAfterMs`); else a second. */
  get retryAfterMs(): number {
    const given = this.fields['retryAfterMs'];
    return typeof given === 'number' ? given : 1_000;
  }

  get title(): string {
    return ERRORS[this.code].title;
  }
}

export function isErrorCode(code: unknown): code is ErrorCode {
  return typeof code === 'string' && Object.hasOwn(ERRORS, code);
}

/** What an error says; anything may be thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
