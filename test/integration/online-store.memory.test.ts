import { describe } from 'vitest';
import { dropAll } from '../../features/online/guarded-write.ts';
import { MemoryStore } from '../setup/memory-store.ts';
import { describeOnlineStore } from './online-store-suite.ts';

describe('the store of the recipe', () => {
  describeOnlineStore(() => {
    const store = new MemoryStore();
    return Promise.resolve({
      store,
      another: () => Promise.resolve(store),
      async clear() {
        for (const view of ['view', 'one', 'two']) await dropAll(store, `${view}@1`);
      },
      breakConnections: () => Promise.resolve(),
      close: () => Promise.resolve(),
    });
  });
});
