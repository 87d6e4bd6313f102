import { defineConfig } from 'vitest/config';

/** They hold the server to times that it promises on a machine of its own, so nothing else runs beside them. */
const alone = ['test/e2e/main-job.test.ts', 'test/e2e/gateways-main-job.test.ts'];

export default defineConfig({
  test: {
    testTimeout: 60_000,
    hookTimeout: 120_000,
    maxWorkers: 2,
    projects: [
      {
        extends: true,
        test: {
          name: 'side by side',
          include: ['src/**/*.test.ts', 'clients/**/*.test.ts', 'test/**/*.test.ts', 'web/**/*.test.ts'],
          exclude: alone,
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: { name: 'alone', include: alone, maxWorkers: 1, sequence: { groupOrder: 1 } },
      },
    ],
  },
});
