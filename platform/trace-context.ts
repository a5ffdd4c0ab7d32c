/** W3C Trace Context (https://www.w3.org/TR/trace-context/): which trace a request belongs to, taken in and handed on. */
import { randomFillSync } from 'node:crypto';

export interface TraceContext {
  /** 32 hexadecimal digits, lower case, not all zero. */
  readonly traceId: string;
  /** 16 of them: our own span within the trace. */
  readonly spanId: string;
  /** The caller's span. */
  readonly parentId: string;
  /** Whether the caller records the trace. */
  readonly sampled: boolean;
  /** Of other vendors, handed on as it came and never read; null: none, or none that is well formed. */
  readonly tracestate: string | null;
}

const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;
const NO_TRACE = '0'.repeat(32);
const NO_SPAN = '0'.repeat(16);
const SAMPLED = 0x01;

/** Of section 3.3.1: keys with an optional tenant, values of printable ASCII without comma and equals sign. */
const TRACESTATE_MEMBER =
  /^(?:[a-z][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13})=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]$/;
const TRACESTATE_MEMBERS_MAX = 32;
const TRACESTATE_LENGTH_MAX = 512;

type HeaderValue = string | readonly string[] | undefined;

/**
 * The trace that a request says it belongs to, with a span of our own in it.
 * @returns undefined when it says none, or something that is no trace: it is then as if nothing had been said (section 3.2)
 */
export function takeTrace(headers: Readonly<Record<string, HeaderValue>>): TraceContext | undefined {
  const { traceparent, tracestate } = headers;
  if (typeof traceparent !== 'string') return undefined;
  const parts = TRACEPARENT.exec(traceparent.trim());
  if (parts === null) return undefined;
  const [, version, traceId, parentId, flags, rest] = parts as unknown as [
    string,
    string,
    string,
    string,
    string,
    string?,
  ];
  // a later version may say more behind what this one knows; ff is never a version
  if (version === 'ff' || (version === '00' && rest !== undefined)) return undefined;
  if (traceId === NO_TRACE || parentId === NO_SPAN) return undefined;
  return {
    traceId,
    parentId,
    spanId: newSpanId(),
    sampled: (Number.parseInt(flags, 16) & SAMPLED) !== 0,
    tracestate: readTracestate(tracestate),
  };
}

/** Our `traceparent`: for the answer, and as the parent of what is asked of others. */
export function traceparentOf({ traceId, spanId, sampled }: TraceContext): string {
  return `00-${traceId}-${spanId}-${sampled ? '01' : '00'}`;
}

/** Headers of a request that is made on behalf of a traced one. */
export function outgoingTrace(trace: TraceContext | undefined): Record<string, string> {
  if (trace === undefined) return {};
  const { tracestate } = trace;
  return { traceparent: traceparentOf(trace), ...(tracestate !== null && { tracestate }) };
}

function readTracestate(header: HeaderValue): string | null {
  if (header === undefined) return null;
  const text = typeof header === 'string' ? header : header.join(',');
  const members = text
    .split(',')
    .map((member) => member.trim())
    .filter((member) => member !== '');
  const joined = members.join(',');
  if (members.length === 0 || members.length > TRACESTATE_MEMBERS_MAX || joined.length > TRACESTATE_LENGTH_MAX)
    return null;
  if (!members.every((member) => TRACESTATE_MEMBER.test(member))) return null;
  const keys = new Set(members.map((member) => member.slice(0, member.indexOf('='))));
  return keys.size === members.length ? joined : null;
}

const pool = Buffer.alloc(1_024);
let used = pool.length;

function newSpanId(): string {
  for (;;) {
    if (used === pool.length) {
      randomFillSync(pool);
      used = 0;
    }
    const id = pool.toString('hex', used, (used += 8));
    if (id !== NO_SPAN) return id;
  }
}
