import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Backpressure } from './backpressure.ts';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'setImmediate'] });
});
afterEach(() => {
  vi.useRealTimers();
});

class Connection {
  destroyed = false;
  reading = true;
  pause(): void {
    this.reading = false;
  }
  resume(): void {
    this.reading = true;
  }
}

/** An event loop that is always at work, and takes `refusalMs` for each request it refuses. */
function aServer({ connections = 100, refusalMs = 0.05, active = 1 } = {}) {
  const clock = { ms: 0, activeMs: 0 };
  const pass = (ms: number): void => {
    clock.ms += ms;
    clock.activeMs += ms * server.active;
  };
  const backpressure = new Backpressure({
    nowMs: () => clock.ms,
    activeMs: () => clock.activeMs,
    limits: { refusingShare: 0.4, maxPauseMs: 1_000 },
  });
  const server = {
    active,
    backpressure,
    clock,
    connections: Array.from({ length: connections }, () => new Connection()),
    refused: 0,
    /** A request comes on a connection and is refused. @returns when it was sent, as far as is known */
    refuse(connection: Connection): number {
      const sentMs = backpressure.arrived(connection, clock.ms);
      backpressure.refused(connection, sentMs, clock.ms);
      server.refused++;
      pass(refusalMs);
      return sentMs;
    },
    /** Some that are read from, and have asked since they were not. */
    listened(): Connection[] {
      const some = server.connections.filter(({ reading }) => reading).slice(0, 3);
      for (const connection of some) backpressure.arrived(connection, clock.ms);
      return some;
    },
    /** For `ms`: each connection that is read from asks at once and is refused; between such rounds a batch runs. */
    run(ms: number, batchMs = 2): void {
      const untilMs = clock.ms + ms;
      while (clock.ms < untilMs) {
        const beforeMs = clock.ms;
        for (const connection of server.connections) if (connection.reading) server.refuse(connection);
        pass(batchMs);
        vi.advanceTimersByTime(Math.ceil(clock.ms - beforeMs));
      }
    },
  };
  return server;
}

const paused = ({ connections }: { connections: readonly Connection[] }): number =>
  connections.filter(({ reading }) => !reading).length;

test('refusals that take less than their share keep nobody waiting', () => {
  // 20 · 0.05 ms beside batches of 2 ms
  const server = aServer({ connections: 20 });
  server.run(2_000);
  expect(server.refused).toBeGreaterThan(10_000);
  expect([paused(server), server.backpressure.pausedConnections]).toEqual([0, 0]);
});

test('refusals that would take all of a saturated event loop are held near their share of it', () => {
  // 400 · 0.05 ms beside batches of 2 ms: 91 % of the time
  const server = aServer({ connections: 400 });
  server.run(2_000);
  const [from, before] = [server.clock.ms, server.refused];
  server.run(4_000);
  const share = ((server.refused - before) * 0.05) / (server.clock.ms - from);
  expect(share).toBeGreaterThan(0.25);
  expect(share).toBeLessThan(0.55);
});

test('an event loop with time to spare refuses as much as it is asked', () => {
  const server = aServer({ connections: 200, active: 0.8 });
  server.run(2_000);
  expect(paused(server)).toBe(0);
});

test('a connection is paused when its request has left the parser: with the next request of another, or the next turn', () => {
  const server = aServer({ connections: 400 });
  server.run(300);
  const [first, second, third] = server.listened();
  server.refuse(first!);
  expect(first!.reading).toBe(true);
  server.refuse(second!);
  expect([first!.reading, second!.reading]).toEqual([false, true]);
  server.refuse(third!);
  vi.runOnlyPendingTimers();
  expect(third!.reading).toBe(false);
});

test('what was sent during a pause counts from its start, once, and is not paused for again', () => {
  const server = aServer({ connections: 400 });
  server.run(300);
  const [connection] = server.listened() as [Connection];
  server.refuse(connection);
  const pausedAtMs = server.clock.ms;
  vi.runOnlyPendingTimers();
  expect(connection.reading).toBe(false);
  while (!connection.reading) server.run(5);
  const sentMs = server.refuse(connection);
  expect(sentMs).toBeGreaterThanOrEqual(pausedAtMs - 0.05);
  expect(sentMs).toBeLessThan(server.clock.ms - 5);
  expect(connection.reading).toBe(true);
  expect(server.backpressure.arrived(connection, server.clock.ms)).toBe(server.clock.ms);
});

test('when the rush is over everybody is read from again', () => {
  const server = aServer({ connections: 400 });
  server.run(2_000);
  server.connections.splice(0, 395);
  server.active = 0.1;
  server.run(1_500);
  expect([paused(server), server.backpressure.pausedConnections]).toEqual([0, 0]);
  expect(vi.getTimerCount()).toBe(0);
});

test('a server that leaves reads from everybody first; a connection that is gone is left alone', () => {
  const server = aServer({ connections: 400 });
  server.run(500);
  const waiting = server.connections.filter(({ reading }) => !reading);
  expect(waiting.length).toBeGreaterThan(10);
  waiting[0]!.destroyed = true;
  server.backpressure.release();
  expect(paused(server)).toBe(1);
  expect(waiting[0]!.reading).toBe(false);
  expect(server.backpressure.pausedConnections).toBe(0);
});

test('a pause ends in its time in the midst of a turn of the event loop, in which no timer goes off', () => {
  const server = aServer({ connections: 400 });
  server.run(300);
  const [one, other] = server.listened();
  server.refuse(one!);
  server.refuse(other!);
  expect(one!.reading).toBe(false);
  server.clock.ms += 1_000;
  server.clock.activeMs += 1_000;
  server.backpressure.arrived(other!, server.clock.ms);
  expect(one!.reading).toBe(true);
});

test('pipelined refusals of one connection pause it once', () => {
  const server = aServer({ connections: 400 });
  server.run(300);
  const [one, other] = server.listened();
  const before = server.backpressure.pausedConnections;
  server.refuse(one!);
  server.refuse(one!);
  server.refuse(other!);
  expect(server.backpressure.pausedConnections).toBe(before + 1);
});

test('of a real connection nothing is read during its pause; its next request is answered afterwards', async () => {
  vi.useRealTimers();
  const clock = { ms: 0 };
  const limits = { refusingShare: 0.4, maxPauseMs: 1_000 };
  const backpressure = new Backpressure({ nowMs: () => clock.ms, activeMs: () => clock.ms, limits });
  // a rush that nobody rests from: it has no connections
  for (let i = 0; i < 10_000; i++) {
    backpressure.refused({}, backpressure.arrived({}, clock.ms), clock.ms);
    clock.ms += 0.05;
  }
  const seen: (readonly [string, number])[] = [];
  const http = createServer((request, response) => {
    const sentMs = backpressure.arrived(request.socket, clock.ms);
    seen.push([request.url!, sentMs]);
    if (request.url === '/refused') backpressure.refused(request.socket, sentMs, clock.ms);
    response.end('told');
  }).listen(0, '127.0.0.1');
  await once(http, 'listening');
  const open = async (): Promise<Socket> => {
    const socket = connect((http.address() as AddressInfo).port, '127.0.0.1');
    await once(socket, 'connect');
    return socket;
  };
  const ask = async (socket: Socket, path: string): Promise<void> => {
    socket.write(`GET ${path} HTTP/1.1\r\nhost: x\r\n\r\n`);
    await once(socket, 'data');
  };
  const [paused, other] = [await open(), await open()];
  try {
    const pausedAtMs = clock.ms;
    await ask(paused, '/refused');
    await vi.waitFor(() => expect(backpressure.pausedConnections).toBe(1));
    const answered = ask(paused, '/during');
    for (let i = 0; i < 20; i++) await ask(other, '/other');
    expect(seen.map(([path]) => path)).not.toContain('/during');
    clock.ms += 1_000;
    await answered;
    expect(seen.at(-1)).toEqual(['/during', pausedAtMs]);
    await ask(paused, '/after');
    expect(seen.at(-1)).toEqual(['/after', clock.ms]);
    expect(backpressure.pausedConnections).toBe(0);
  } finally {
    paused.destroy();
    other.destroy();
    http.close();
  }
});
