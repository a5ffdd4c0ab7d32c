import { afterEach, expect, test, vi } from 'vitest';
import type { Principal, Role } from '../../db/tokens.ts';
import { createTesterAccess } from './tester-access.ts';

const principals: Readonly<Record<string, readonly Role[]>> = { ada: ['engineer'], bob: ['viewer'], root: ['admin'] };

function anAccess() {
  const world = {
    lookedUp: [] as string[],
    nowMs: 0,
    find: (token: string): Promise<Principal | undefined> => {
      const roles = principals[token];
      return Promise.resolve(roles && { principal: token, roles });
    },
  };
  const access = createTesterAccess({
    findPrincipal: (token) => {
      world.lookedUp.push(token);
      return world.find(token);
    },
    nowMs: () => world.nowMs,
  });
  return { world, ask: (token: string) => access.authorize(`Bearer ${token}`), authorize: access.authorize };
}

test('an engineer and an admin may choose, a viewer may not', async () => {
  const { ask } = anAccess();
  await expect(ask('ada')).resolves.toMatchObject({ principal: 'ada' });
  await expect(ask('root')).resolves.toMatchObject({ principal: 'root' });
  await expect(ask('bob')).rejects.toMatchObject({
    code: 'FORBIDDEN',
    status: 403,
    message: expect.stringContaining('bob has viewer') as string,
  });
});

test.each([undefined, '', 'Bearer', 'Basic ada', 'ada'])('%j is no token', async (header) => {
  const { authorize, world } = anAccess();
  await expect(authorize(header)).rejects.toMatchObject({ code: 'UNAUTHENTICATED' });
  expect(world.lookedUp).toEqual([]);
});

test('a token is looked up once in half a minute, also one that is not known', async () => {
  const { ask, world } = anAccess();
  for (let i = 0; i < 5; i++) {
    await ask('ada');
    await expect(ask('nobody')).rejects.toMatchObject({ code: 'UNAUTHENTICATED' });
  }
  expect(world.lookedUp).toEqual(['ada', 'nobody']);
  world.nowMs = 30_000;
  await ask('ada');
  expect(world.lookedUp).toEqual(['ada', 'nobody', 'ada']);
});

test('a token that was revoked is refused when its half minute is over', async () => {
  const { ask, world } = anAccess();
  await ask('ada');
  world.find = () => Promise.resolve(undefined);
  await ask('ada');
  world.nowMs = 30_000;
  await expect(ask('ada')).rejects.toMatchObject({ code: 'UNAUTHENTICATED' });
});

test('requests with one token share its look-up', async () => {
  const { ask, world } = anAccess();
  await Promise.all([ask('ada'), ask('ada'), ask('ada')]);
  expect(world.lookedUp).toEqual(['ada']);
});

test('a failed look-up refuses and is not remembered', async () => {
  const { ask, world } = anAccess();
  const { find } = world;
  world.find = () => Promise.reject(new Error('connection refused'));
  await expect(ask('ada')).rejects.toMatchObject({ code: 'DATABASE_UNAVAILABLE', status: 503 });
  world.find = find;
  await expect(ask('ada')).resolves.toMatchObject({ principal: 'ada' });
});

test('a look-up that does not come back refuses after two seconds; others are refused at once', async () => {
  vi.useFakeTimers();
  const { ask, world } = anAccess();
  world.find = () => new Promise(() => undefined);
  const hung = Promise.allSettled(Array.from({ length: 4 }, (_, i) => ask(`token-${i}`)));
  await expect(ask('another')).rejects.toMatchObject({ code: 'OVERLOADED' });
  await vi.advanceTimersByTimeAsync(2_000);
  for (const settled of await hung) {
    expect(settled).toMatchObject({ status: 'rejected', reason: { code: 'DATABASE_UNAVAILABLE' } });
  }
});
afterEach(() => vi.useRealTimers());

test('made-up tokens take up a few reads at a time, and what is remembered is bounded', async () => {
  const { ask, world } = anAccess();
  const { find } = world;
  let answer = (): void => undefined;
  const held = new Promise<void>((resolve) => (answer = resolve));
  world.find = () => held.then(() => undefined);
  const tried = Array.from({ length: 10 }, (_, i) => ask(`made-up-${i}`));
  const settled = Promise.allSettled(tried);
  expect(world.lookedUp).toHaveLength(4);
  await expect(tried[9]).rejects.toMatchObject({ code: 'OVERLOADED' });
  answer();
  expect((await settled).every(({ status }) => status === 'rejected')).toBe(true);

  world.find = find;
  for (let i = 0; i < 1_200; i++) await ask(`other-${i}`).catch(() => undefined);
  const before = world.lookedUp.length;
  await ask('other-1199').catch(() => undefined);
  expect(world.lookedUp.length).toBe(before);
  await ask('other-0').catch(() => undefined);
  expect(world.lookedUp.length).toBe(before + 1);
});
