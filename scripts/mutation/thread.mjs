// Runs tests on one mutant, or on none, in a thread of its own: so each begins with modules that were just loaded.
import { parentPort, workerData } from 'node:worker_threads'
import { t, tests } from './assertions.mjs'

const { files, activeMutant, only, stopAtFirst } = workerData

// Mutated code reads here which mutant is active, and counts which test comes by which.
const stryker = { activeMutant }
globalThis.__stryker__ = stryker

const results = []

async function judge(id, name, run) {
  stryker.currentTestId = id
  const start = performance.now()
  let failureMessage
  try {
    await run()
  } catch (error) {
    failureMessage = String(error?.stack ?? error)
  }
  stryker.currentTestId = undefined
  results.push({ id, name, timeSpentMs: performance.now() - start, failureMessage })
  return failureMessage === undefined
}

async function judgeFile(file) {
  const first = tests.length
  // A mutant may break a file as soon as it is loaded.
  const loads = await judge(`${file}: loads`, file, async () => {
    stryker.currentTestId = undefined
    await import(file)
  })
  if (!loads) return false
  for (const { title, run } of tests.slice(first)) {
    const id = `${file}: ${title}`
    if (only !== undefined && !only.includes(id)) continue
    if (!(await judge(id, title, () => run(t))) && stopAtFirst) return false
  }
  return true
}

for (const file of files) if (!(await judgeFile(file))) break
parentPort.postMessage({ results, mutantCoverage: stryker.mutantCoverage })
