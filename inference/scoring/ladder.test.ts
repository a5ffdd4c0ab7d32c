import { expect, test } from 'vitest';
import type { RouteEntry } from '../routing/route-entry.ts';
import { Assigner } from './ladder.ts';
import { anEntry, anInstance, aRule, aScorer, aVersion } from './serving-fixture.ts';

const version = (number: number, model = 'delay') =>
  aVersion(
    number,
    aScorer(() => 0.5),
    { model },
  );
const names = (assigner: Assigner, entry: RouteEntry, override?: Parameters<Assigner['assign']>[1]['override']) =>
  assigner
    .assign(entry, { ...anInstance('u'), ...(override && { override }) })
    .ladder.map(({ name, served }) => `${name} ${served.model} ${served.version}`);

test('the fallback model stands above the rule, with the champion it has at the moment', async () => {
  const entry = await anEntry({ champion: version(2), lastKnownGood: version(1), fallback: 'other' });
  const others = new Map([['other', await anEntry({ champion: version(7, 'other') })]]);
  const assigner = new Assigner((model) => others.get(model));
  expect(names(assigner, entry)).toEqual([
    'champion delay 2',
    'last_known_good delay 1',
    'fallback other 7',
    'rule delay 0',
  ]);
  others.set('other', await anEntry({ champion: version(8, 'other') }));
  expect(names(assigner, entry)[2]).toBe('fallback other 8');
  others.clear();
  expect(names(assigner, entry)).toEqual(['champion delay 2', 'last_known_good delay 1', 'rule delay 0']);
});

test('where the rule is champion the fallback model comes after it', async () => {
  const rule = aRule();
  const entry = await anEntry({ champion: rule, rule, fallback: 'other' });
  const other = await anEntry({ champion: version(7, 'other') });
  expect(names(new Assigner(() => other), entry)).toEqual(['champion delay 0', 'fallback other 7']);
});

test('a tester gets the version or the arm asked for, with the ladder below it', async () => {
  const entry = await anEntry({
    champion: version(2),
    lastKnownGood: version(1),
    canary: version(3),
    canaryWeight: 0,
    shadow: version(4),
  });
  const assigner = new Assigner(() => undefined);
  expect(names(assigner, entry, { version: 4 })).toEqual([
    'override delay 4',
    'champion delay 2',
    'last_known_good delay 1',
    'rule delay 0',
  ]);
  expect(names(assigner, entry, { version: 1 })).toEqual(['override delay 1', 'champion delay 2', 'rule delay 0']);
  expect(names(assigner, entry, { arm: 'canary' })[0]).toBe('canary delay 3');
  expect(assigner.assign(entry, { ...anInstance('u'), override: { arm: 'champion' } }).arm).toBe('override');
});

test('a version that is gone by the time of the answer leaves the champion', async () => {
  const entry = await anEntry({ champion: version(2) });
  expect(names(new Assigner(() => undefined), entry, { version: 9 })[0]).toBe('champion delay 2');
});
