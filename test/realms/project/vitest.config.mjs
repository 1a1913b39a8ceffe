import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    globals: true,
    testTimeout: 60_000,
    projects: ['threads', 'forks', 'vmThreads'].flatMap((pool) =>
      ['node', 'jsdom'].map((environment) => ({
        extends: true,
        test: { name: `${pool}, ${environment}`, pool, environment },
      }))
    ),
  },
})
