import fc from 'fast-check';
import { expect, test, vi } from 'vitest';
import { Circuit, type CircuitPolicy, Circuits } from './circuit.ts';

const policy: CircuitPolicy = { windowMs: 10_000, minCalls: 4, failureShare: 0.5, openMs: 5_000, probes: 2 };

/** Makes a call if it is let, and says whether it was. */
function call(circuit: Circuit, nowMs: number, failed: number): boolean {
  const admitted = circuit.admit(nowMs);
  if (admitted) circuit.record(nowMs, failed);
  return admitted;
}

test('it opens when enough calls were made and half of them failed, and says so once', () => {
  const onOpen = vi.fn<() => void>();
  const circuit = new Circuit(policy, onOpen);
  expect([1, 1, 0].map((failed, at) => call(circuit, at, failed))).toEqual([true, true, true]);
  expect(circuit.state(3)).toBe('closed');
  call(circuit, 3, 1);
  expect(circuit.state(4)).toBe('open');
  expect(call(circuit, 4, 0)).toBe(false);
  expect(onOpen).toHaveBeenCalledTimes(1);
});

test('batches of which a few rows fail leave it closed', () => {
  const circuit = new Circuit(policy);
  for (let at = 0; at < 1_000; at++) expect(call(circuit, at, 0.4)).toBe(true);
});

test('failures that have left the window do not count', () => {
  const circuit = new Circuit(policy);
  for (let at = 0; at < 3; at++) call(circuit, at, 1);
  for (let at = 0; at < 3; at++) call(circuit, 20_000 + at, 0);
  call(circuit, 20_003, 1);
  expect(circuit.state(20_003)).toBe('closed');
});

test('half open it lets one call through at a time, and closes after as many successes as it wants', () => {
  const circuit = new Circuit(policy);
  for (let at = 0; at < 4; at++) call(circuit, at, 1);
  expect(circuit.admit(5_002)).toBe(false);
  expect(circuit.state(5_003)).toBe('half_open');
  expect(circuit.admit(5_003)).toBe(true);
  expect(circuit.admit(5_004)).toBe(false);
  circuit.record(5_005, 0);
  expect(call(circuit, 5_006, 0)).toBe(true);
  expect(circuit.state(5_007)).toBe('closed');
  // what it was opened by is forgotten
  expect(call(circuit, 5_008, 1) && circuit.state(5_008)).toBe('closed');
});

test('a probe that fails opens it for as long again', () => {
  const circuit = new Circuit(policy);
  for (let at = 0; at < 4; at++) call(circuit, at, 1);
  expect(call(circuit, 5_003, 1)).toBe(true);
  expect(circuit.state(10_002)).toBe('open');
  expect(circuit.state(10_003)).toBe('half_open');
});

test('a poisoned row in a probe does not keep it open', () => {
  const circuit = new Circuit({ ...policy, probes: 1 });
  for (let at = 0; at < 4; at++) call(circuit, at, 1);
  call(circuit, 5_003, 0.1);
  expect(circuit.state(5_003)).toBe('closed');
});

test('nothing is asked while a call is late; when it comes back the next one may', () => {
  const circuit = new Circuit(policy);
  circuit.admit(0);
  circuit.late();
  circuit.record(100, 1);
  expect([circuit.admit(101), circuit.state(101)]).toEqual([false, 'open']);
  circuit.returned();
  expect([circuit.admit(102), circuit.state(102)]).toEqual([true, 'closed']);
});

test('with a share of 0 the first failure opens it', () => {
  const circuit = new Circuit({ windowMs: 1_000, minCalls: 1, failureShare: 0, openMs: 1_000, probes: 1 });
  for (let at = 0; at < 100; at++) call(circuit, at, 0);
  call(circuit, 100, 0.01);
  expect(circuit.state(101)).toBe('open');
  expect(call(circuit, 1_100, 0)).toBe(true);
  expect(circuit.state(1_101)).toBe('closed');
});

test('whatever happens: no call while it is open, and a callee that has recovered is let back in', () => {
  const step = fc.record({
    afterMs: fc.integer({ min: 0, max: 4_000 }),
    failed: fc.double({ min: 0, max: 1, noNaN: true }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const circuit = new Circuit(policy);
      let now = 0;
      for (const { afterMs, failed } of steps) {
        now += afterMs;
        const open = circuit.state(now) === 'open';
        expect(call(circuit, now, failed)).toBe(!open);
      }
      for (let i = 0; i < policy.probes; i++) expect(call(circuit, (now += policy.openMs), 0)).toBe(true);
      expect(circuit.state(now)).toBe('closed');
    }),
  );
});

test('each callee has a circuit of its own', () => {
  const opened = vi.fn<(callee: object) => void>();
  const circuits = new Circuits<object>({ ...policy, minCalls: 1 }, opened);
  const [a, b] = [{}, {}];
  circuits.of(a).record(0, 1);
  expect([circuits.of(a).state(1), circuits.of(b).state(1)]).toEqual(['open', 'closed']);
  expect(opened.mock.calls).toEqual([[a]]);
});
