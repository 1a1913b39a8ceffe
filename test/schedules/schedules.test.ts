import { readFileSync } from 'node:fs'
import test from 'ava'
import { buildWithSteps } from './instrument.ts'
import { loadLib } from './load.ts'
import { Lockstep, type Strike } from './lockstep.ts'
import { MUTATIONS } from './mutations.ts'
import { SCENARIOS } from './scenarios/index.ts'
import { Search } from './search.ts'
import type { Memory } from './steps.ts'

/** Seconds for all scenarios together; a run by hand takes all schedules of main.ts. */
const SECONDS = Number(process.env.SPANHEAP_SCHEDULE_SECONDS ?? 30)

const KINDS: { memory: Memory; strikes: Strike[] }[] = [
  { memory: 'sc', strikes: [] },
  { memory: 'sc', strikes: ['dies', 'lives'] },
  { memory: 'pso', strikes: [] },
  { memory: 'stale', strikes: [] },
]

let lockstep: Lockstep
const folder = buildWithSteps('stepped-test')
const start = async () => Lockstep.start(await loadLib(folder), folder)
test.before(async () => {
  lockstep = await start()
})
test.after.always(() => lockstep?.stop())

for (const scenario of SCENARIOS) {
  test.serial(`schedules: ${scenario.name}`, async (t) => {
    const within = (SECONDS * 1000) / SCENARIOS.length / KINDS.length
    for (const [at, { memory, strikes }] of KINDS.entries()) {
      const options = { memory, strikes, within, struck: 2, seed: at + 1, stopsAtFault: true }
      const search = new Search(lockstep, scenario, options)
      // In so little time, random schedules reach further than the beginning of all.
      const { runs, faults, isStuck } = await search.random()
      for (const { problem, plan } of faults) t.fail(`${problem}\n${JSON.stringify(plan)}`)
      t.true(runs > 1 || isStuck)
      if (!isStuck) continue
      await lockstep.stop()
      lockstep = await start()
    }
  })
}

test('schedules: each mutation changes one place of the library, and names a scenario', (t) => {
  for (const { name, file, text, scenario } of MUTATIONS) {
    const code = readFileSync(new URL(`../../lib/${file}`, import.meta.url), 'utf8')
    t.is(code.split(text).length, 2, name)
    t.true(
      SCENARIOS.some((one) => one.name.includes(scenario)),
      name
    )
  }
})
