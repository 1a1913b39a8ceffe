// A test runner for Stryker. Ava takes a second to start, the tests of a pure file much less: so they run without it.
import { mkdirSync, writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { Worker } from 'node:worker_threads'
import { declareClassPlugin, PluginKind } from '@stryker-mutator/api/plugin'
import { DryRunStatus, TestStatus, toMutantRunResult } from '@stryker-mutator/api/test-runner'

/** How often to look what a thread has taken. */
const LOOK_MS = 100

class ThreadRunner {
  static inject = ['options']

  constructor({ pureTests: { files, seconds } }) {
    this.files = files.map((file) => pathToFileURL(resolve(file)).href)
    this.seconds = seconds
  }

  capabilities() {
    return { reloadEnvironment: true }
  }

  /** Makes the tests of the copy find the stand-in before they find ava. */
  init() {
    const folder = 'dist/test/node_modules/ava'
    mkdirSync(folder, { recursive: true })
    writeFileSync(`${folder}/package.json`, '{ "type": "module", "exports": "./index.js" }')
    const standIn = new URL('assertions.mjs', import.meta.url).href
    writeFileSync(`${folder}/index.js`, `export { default } from ${JSON.stringify(standIn)}\n`)
  }

  dryRun() {
    return this.run({ stopAtFirst: false })
  }

  async mutantRun({ activeMutant, testFilter, disableBail }) {
    return toMutantRunResult(
      await this.run({ activeMutant: activeMutant.id, only: testFilter, stopAtFirst: !disableBail })
    )
  }

  /** Runs the tests in a thread, which is ended when the processor has worked for too long: a clock would see a busy machine. */
  async run(task) {
    const worker = new Worker(new URL('thread.mjs', import.meta.url), {
      workerData: { ...task, files: this.files },
      stdout: true,
      stderr: true,
      resourceLimits: { maxOldGenerationSizeMb: 512 },
    })
    const start = process.cpuUsage()
    let look
    const tooLong = new Promise((end) => {
      look = setInterval(() => {
        const { user, system } = process.cpuUsage(start)
        if ((user + system) / 1e6 > this.seconds) end({ status: DryRunStatus.Timeout })
      }, LOOK_MS)
    })
    const done = new Promise((end) => {
      worker.on('message', ({ results, mutantCoverage }) => {
        const tests = results.map(({ failureMessage, ...result }) =>
          failureMessage === undefined
            ? { ...result, status: TestStatus.Success }
            : { ...result, status: TestStatus.Failed, failureMessage }
        )
        end({ status: DryRunStatus.Complete, tests, mutantCoverage })
      })
      // Out of memory, or an error behind the back of a test: noticed as well.
      worker.on('error', (error) => {
        const failed = { id: 'thread', name: 'thread', timeSpentMs: 0, status: TestStatus.Failed }
        end({ status: DryRunStatus.Complete, tests: [{ ...failed, failureMessage: String(error) }] })
      })
    })
    try {
      return await Promise.race([done, tooLong])
    } finally {
      clearInterval(look)
      await worker.terminate()
    }
  }
}

export const strykerPlugins = [declareClassPlugin(PluginKind.TestRunner, 'threads', ThreadRunner)]
