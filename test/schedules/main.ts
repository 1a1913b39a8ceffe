// Runs the checker by hand: node --expose-gc dist/test/schedules/main.js --help
import { parseArgs } from 'node:util'
import { buildWithSteps } from './instrument.ts'
import { loadLib } from './load.ts'
import { Lockstep, type Plan, type Strike } from './lockstep.ts'
import { MUTATIONS, type Mutation } from './mutations.ts'
import type { Scenario } from './scenario.ts'
import { SCENARIOS } from './scenarios/index.ts'
import { Search } from './search.ts'
import type { Memory } from './steps.ts'

const HELP = `node --expose-gc dist/test/schedules/main.js [options]
  --only TEXT       scenarios, or mutations, whose names contain it
  --memory KIND     sc (default), tso, pso or stale
  --strikes KINDS   dies, lives, or dies,lives; none by default
  --preemptions 2   all with two preemptions, too
  --random          random schedules, not all with one preemption
  --depth N         of random schedules: turns of each thread (2)
  --struck N        of random schedules with strikes: how many threads are struck (1)
  --seed N          of random schedules: the first (1)
  --seconds N       for each scenario or mutation (30)
  --fallback        heaps over growable buffers, as without the addon; not with deaths
  --plan JSON       runs this plan, which a fault has printed
  --mutations       puts faults into the library, one at a time, and looks whether they are found
  --list            names the scenarios
  --folder NAME     of the library's build in dist/ (stepped): another for each of several runs at once`

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: '' },
    memory: { type: 'string', default: 'sc' },
    strikes: { type: 'string', default: '' },
    preemptions: { type: 'string', default: '1' },
    random: { type: 'boolean', default: false },
    depth: { type: 'string', default: '2' },
    seed: { type: 'string', default: '1' },
    struck: { type: 'string', default: '1' },
    seconds: { type: 'string', default: '30' },
    fallback: { type: 'boolean', default: false },
    plan: { type: 'string' },
    mutations: { type: 'boolean', default: false },
    list: { type: 'boolean', default: false },
    folder: { type: 'string', default: 'stepped' },
    help: { type: 'boolean', default: false },
  },
})

const within = Number(values.seconds) * 1000
const chosen = <T extends { name: string }>(all: readonly T[]) => all.filter(({ name }) => name.includes(values.only))

if (values.help) console.log(HELP)
else if (values.list)
  console.log(
    chosen(SCENARIOS)
      .map(({ name }) => name)
      .join('\n')
  )
else if (values.mutations) {
  for (const mutation of chosen(MUTATIONS)) await mutate(mutation)
  process.exit() // threads may be in a deadlock
} else {
  let lockstep = await start()
  for (const scenario of chosen(SCENARIOS)) {
    if (await look(lockstep, scenario)) continue
    await lockstep.stop()
    lockstep = await start()
  }
  process.exit()
}

async function start(mutation?: Mutation): Promise<Lockstep> {
  const folder = buildWithSteps(
    mutation === undefined ? values.folder : `${values.folder}-${MUTATIONS.indexOf(mutation)}`,
    mutation
  )
  return Lockstep.start(await loadLib(folder), folder, values.fallback)
}

/** False if nothing more can be run. */
async function look(lockstep: Lockstep, scenario: Scenario): Promise<boolean> {
  if (values.plan !== undefined) {
    const { traces, problems, isDeadlock } = lockstep.run(scenario, JSON.parse(values.plan) as Plan)
    const steps = traces.map(({ keys }) => keys.length)
    console.log(`${scenario.name}: ${steps} steps\n${problems.join('\n') || 'holds'}`)
    if (problems.length > 0) process.exitCode = 1
    return !isDeadlock
  }
  const since = performance.now()
  const search = new Search(lockstep, scenario, {
    memory: values.memory as Memory,
    strikes: values.strikes.split(',').filter((strike) => strike !== '') as Strike[],
    preemptions: values.preemptions === '2' ? 2 : 1,
    depth: Number(values.depth),
    seed: Number(values.seed),
    struck: Number(values.struck),
    within,
  })
  const { runs, faults, isComplete, isStuck } = values.random ? await search.random() : await search.exhaustive()
  const seconds = ((performance.now() - since) / 1000).toFixed(1)
  const kind = values.random ? 'random' : isComplete ? 'all' : 'not all'
  console.log(`${scenario.name}: ${runs} schedules (${kind}) in ${seconds} s, ${faults.length} kinds of faults`)
  for (const { problem, plan, count } of faults)
    console.log(
      `  ${count} times: ${problem}\n  --only ${JSON.stringify(scenario.name)} --plan '${JSON.stringify(plan)}'`
    )
  if (faults.length > 0) process.exitCode = 1
  return !isStuck
}

async function mutate(mutation: Mutation): Promise<void> {
  const { name, memory, strikes, preemptions = 1 } = mutation
  const scenario = SCENARIOS.find((one) => one.name.includes(mutation.scenario))
  if (scenario === undefined) throw new Error(`${name}: there is no scenario ${mutation.scenario}`)
  const lockstep = await start(mutation)
  const search = new Search(lockstep, scenario, { memory, strikes, preemptions, within, stopsAtFault: true })
  const { runs, faults, isComplete } = await search.exhaustive()
  const [fault] = faults
  if (fault === undefined) {
    console.log(`NOT FOUND in ${runs} schedules (${isComplete ? 'all' : 'not all'}): ${name}`)
    process.exitCode = 1
  } else console.log(`found after ${runs}: ${name}\n  ${fault.problem.split('\n')[0]}\n  ${JSON.stringify(fault.plan)}`)
}
