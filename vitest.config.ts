import { defineConfig } from 'vitest/config';

const SETUP = ['test/setup/property-seed.ts'];
const ELSEWHERE = ['**/node_modules/**', 'dist/**', '.serin/**'];
/** What is awaited comes when the machine has time for it, which on a busy one is not within Vitest's own second. */
const PATIENT = { poll: { timeout: 30_000 } };
/** In CI alone, and told in the output: see docs/decisions/0023-a-second-try-in-ci.md. */
const SECOND_TRY = process.env.CI === undefined ? 0 : 1;

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
          expect: PATIENT,
          // they end what hangs; the slowest tests take 10 s on a quiet machine, and 40 where others want its cores
          testTimeout: 180_000,
          hookTimeout: 180_000,
        },
      },
      {
        test: {
          name: 'integration',
          retry: SECOND_TRY,
          setupFiles: SETUP,
          include: ['test/integration/**/*.test.ts'],
          exclude: ELSEWHERE,
          globalSetup: ['test/setup/services.ts'],
          pool: 'forks',
          expect: PATIENT,
          // they end what hangs; beside two programs that take a core each, some tests need a minute
          testTimeout: 180_000,
          hookTimeout: 180_000,
        },
      },
      {
        test: {
          name: 'e2e',
          retry: SECOND_TRY,
          include: ['test/e2e/**/*.test.ts'],
          exclude: ELSEWHERE,
          globalSetup: ['test/setup/services.ts'],
          pool: 'forks',
          fileParallelism: false,
          expect: PATIENT,
          testTimeout: 300_000,
          hookTimeout: 120_000,
        },
      },
    ],
  },
});
