import { expect, test } from 'vitest';
import type { FeatureViewSpec, SourceSpec } from '../../domain/project/spec.ts';
import { compileHistoryView } from './compile.ts';
import { addFact, createHistory, factOf, foldHistory, settle } from './history.ts';
import { EXPIRED_KEPT } from './pruning.ts';
import { readHistory } from './read-history.ts';

const column = (name: string) => ({ op: 'column', name }) as const;
const SOURCE: SourceSpec = {
  name: 'orders',
  description: '',
  owner: 'tests',
  columns: [
    { name: 'at', type: 'ts', nullable: false, pii: false, description: '' },
    { name: 'id', type: 'str', nullable: false, pii: false, description: '' },
    { name: 'user', type: 'str', nullable: false, pii: false, description: '' },
    { name: 'paid', type: 'bool', nullable: true, pii: false, description: '' },
  ],
  eventAt: 'at',
  zone: null,
  availableAt: column('at'),
  eventId: ['user', 'at'],
  freshnessSlaSeconds: 60,
  revisions: 'versions',
};
const VIEW: FeatureViewSpec = {
  name: 'orders',
  version: 1,
  entity: 'user',
  source: 'orders',
  key: ['user'],
  ttlMicros: 10,
  features: [
    {
      name: 'paid',
      fn: 'latest',
      of: column('paid'),
      where: column('paid'),
      windows: [],
      default: null,
      description: '',
    },
    {
      name: 'known',
      fn: 'latest',
      of: column('paid'),
      where: null,
      nulls: 'skip',
      windows: [],
      default: null,
      description: '',
    },
  ],
  owner: 'tests',
  description: '',
};

test.each([
  ['rows that stay', ['user', 'at']],
  ['rows that can move', ['id']],
])('%s: the row that a condition leaves is expired, not lost, behind many that it leaves out', (_what, eventId) => {
  const entity = { name: 'user', keys: [{ name: 'user', type: 'str' as const }], description: '' };
  const plan = compileHistoryView(VIEW, { ...SOURCE, eventId }, entity);
  const history = createHistory(plan);
  const rows = 3 * EXPIRED_KEPT;
  for (let at = 1; at <= rows; at++) {
    const row = { at, id: `order-${at}`, user: 'ann', paid: at === 1 ? true : null };
    addFact(plan, history, factOf(plan, row, { kind: 'put', eventAt: at, availableAt: at, seq: at, identity: row.id }));
    foldHistory(plan, history, at);
  }
  const asOf = 10 * rows;
  foldHistory(plan, history, asOf);
  expect(readHistory(plan, history, asOf)).toMatchObject({
    statuses: ['expired', 'expired'],
    ages: [asOf - 1, asOf - 1],
  });
  settle(plan, history);
  expect(history.facts.length).toBeLessThanOrEqual(EXPIRED_KEPT + 1);
});
