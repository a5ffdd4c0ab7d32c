import fc from 'fast-check';
import { expect, test } from 'vitest';
import { outgoingTrace, takeTrace, traceparentOf } from './trace-context.ts';

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736';
const PARENT = '00f067aa0ba902b7';

test('a trace is taken with its parent, and a span of our own is in it', () => {
  const trace = takeTrace({ traceparent: `00-${TRACE}-${PARENT}-01`, tracestate: 'congo=t61rcWkgMzE, rojo=00f067' })!;
  expect(trace).toMatchObject({
    traceId: TRACE,
    parentId: PARENT,
    sampled: true,
    tracestate: 'congo=t61rcWkgMzE,rojo=00f067',
  });
  expect(trace.spanId).toMatch(/^[0-9a-f]{16}$/);
  expect(trace.spanId).not.toBe(PARENT);
  expect(traceparentOf(trace)).toBe(`00-${TRACE}-${trace.spanId}-01`);
  expect(outgoingTrace(trace)).toEqual({
    traceparent: traceparentOf(trace),
    tracestate: 'congo=t61rcWkgMzE,rojo=00f067',
  });
  expect(outgoingTrace(undefined)).toEqual({});
});

test.each([
  ['nothing', undefined],
  ['two headers', [`00-${TRACE}-${PARENT}-01`, `00-${TRACE}-${PARENT}-01`]],
  ['upper case', `00-${TRACE.toUpperCase()}-${PARENT}-01`],
  ['a trace of zeros', `00-${'0'.repeat(32)}-${PARENT}-01`],
  ['a parent of zeros', `00-${TRACE}-${'0'.repeat(16)}-01`],
  ['the version that is none', `ff-${TRACE}-${PARENT}-01`],
  ['more than version 00 has', `00-${TRACE}-${PARENT}-01-more`],
  ['a short trace', `00-${TRACE.slice(1)}-${PARENT}-01`],
  ['words', 'marker@example.org'],
])('%s is no trace', (_, traceparent) => {
  expect(takeTrace({ traceparent })).toBeUndefined();
});

test('what a later version adds is passed over', () => {
  expect(takeTrace({ traceparent: `cc-${TRACE}-${PARENT}-00-what-is-to-come` })).toMatchObject({
    traceId: TRACE,
    sampled: false,
  });
});

test.each([
  ['no member', ''],
  ['a key without a value', 'congo'],
  ['a key that is there twice', 'a=1,a=2'],
  ['upper-case keys', 'Congo=1'],
  ['too many members', Array.from({ length: 33 }, (_, i) => `k${i}=1`).join(',')],
  ['too long', `a=${'x'.repeat(250)},b=${'x'.repeat(250)},c=${'x'.repeat(250)}`],
])('a tracestate with %s is dropped, the trace is kept', (_, tracestate) => {
  expect(takeTrace({ traceparent: `00-${TRACE}-${PARENT}-01`, tracestate })).toMatchObject({ tracestate: null });
});

test('whatever comes, nothing but hexadecimal digits goes into our own header', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.string(), (traceparent, tracestate) => {
      const trace = takeTrace({ traceparent, tracestate });
      if (trace !== undefined) expect(traceparentOf(trace)).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]$/);
    }),
  );
});
