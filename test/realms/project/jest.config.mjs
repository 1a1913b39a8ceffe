export default {
  testTimeout: 60_000,
  projects: ['node', 'jsdom'].map((environment) => ({
    displayName: environment,
    testEnvironment: import.meta.resolve(`jest-environment-${environment}`).replace('file://', ''),
    testMatch: ['**/*.test.mjs'],
    transform: {},
  })),
}
