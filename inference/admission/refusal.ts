import { type ErrorCode, ERRORS, SerinError } from '../../domain/errors.ts';

export const REFUSAL_REASONS = ['deadline', 'late', 'queue', 'priority', 'client', 'memory'] as const;

/**
 * `deadline`: it would not be answered in time. `late`: it was thought to be, and its turn came too late. `queue`: there is no room. `priority`: its room went to more urgent work.
 * `client`: the client is over its rate. `memory`: there is no room for its body.
 */
export type RefusalReason = (typeof REFUSAL_REASONS)[number];

/** Why a request is not computed. Made by the thousand a second when it counts, so it is no error, which would look up the stack. */
export interface Refusal {
  readonly reason: RefusalReason;
  readonly detail: string;
  /** After which to try again. */
  readonly retryAfterMs: number;
}

function codeOfRefusal({ reason }: Refusal): ErrorCode {
  return reason === 'client' ? 'RATE_LIMITED' : 'OVERLOADED';
}

export function statusOfRefusal(refusal: Refusal): number {
  return ERRORS[codeOfRefusal(refusal)].status;
}

/** The body of a refusal in the form of the Open Inference Protocol. */
export function protocolRefusal({ detail }: Refusal): string {
  return `{"error":${JSON.stringify(detail)}}`;
}

/** As problem+json, like every other error of the product routes. @param url of the request */
export function problemRefusal(refusal: Refusal, url: string): string {
  const code = codeOfRefusal(refusal);
  const { title, status } = ERRORS[code];
  const { reason, detail, retryAfterMs } = refusal;
  const instance = url.split('?', 1)[0];
  return JSON.stringify({
    reason,
    retryAfterMs,
    type: `urn:serin:error:${code}`,
    title,
    status,
    code,
    detail,
    instance,
  });
}

export function errorOfRefusal(refusal: Refusal): SerinError {
  const { reason, detail, retryAfterMs } = refusal;
  return new SerinError(codeOfRefusal(refusal), detail, { fields: { reason, retryAfterMs } });
}
