import { defineConfig } from 'vitest/config';

const SETUP = ['test/setup/property-seed.ts'];
const ELSEWHERE = ['**/node_modules/**', 'dist/**', '.serin/**'];

/**
 * `unit` lies beside the sources and needs nothing; `integration` and `e2e` share one PostgreSQL and one Temporal server
 * (test/setup/services.ts) and run in forks, since a Temporal worker holds native state that outlives a test file.
 */
export default defineConfig({
  test: {
    maxWorkers: 2,
    projects: [
      {
        test: {
          name: 'unit',
          setupFiles: SETUP,
          include: ['**/*.test.ts'],
          exclude: [...ELSEWHERE, 'test/integration/**', 'test/e2e/**'],
          // it ends what hangs; the slowest tests take 10 s on a quiet machine
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        test: {
          name: 'integration',
          setupFiles: SETUP,
          include: ['test/integration/**/*.test.ts'],
          exclude: ELSEWHERE,
          globalSetup: ['test/setup/services.ts'],
          pool: 'forks',
          testTimeout: 90_000,
          hookTimeout: 90_000,
        },
      },
      {
        test: {
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts'],
          exclude: ELSEWHERE,
          globalSetup: ['test/setup/services.ts'],
          pool: 'forks',
          fileParallelism: false,
          testTimeout: 300_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
});
