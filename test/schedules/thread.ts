// A thread of a run: it prepares, runs its part in steps, and puts its heaps away, each in a turn that the controller gives it.
import { setImmediate } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { type MessagePort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import type { HeapToken } from '../../lib/index.ts'
import { isAddon, loadAddon } from '../../lib/os/addon.ts'
import { loadLib } from './load.ts'
import { Blocks, type Part } from './scenario.ts'
import { SCENARIOS } from './scenarios/index.ts'
import { type Claim, type Memory, runner, type Shared, STRUCK, Status } from './steps.ts'

const { shared, me, port, folder } = workerData as { shared: Shared; me: number; port: MessagePort; folder: string }

/** What the controller sends for a run. */
export interface Task {
  scenario: string
  token: HeapToken
  told: unknown
  memory: Memory
  seed: number
  /** Whether the thread lives on after a strike. */
  livesOn: boolean
}

/** What a thread reports: first what it holds, then how its part ended. */
export interface Report {
  /** The slots that its death leaves dead. */
  claims?: Claim[]
  /** Bytes that its blocks have before the run. */
  heldBytes?: number
  result?: unknown
  error?: { code?: string; stack: string }
  held?: number[]
  maybes?: number[][]
}

/** Runs between collections of what earlier runs have left. */
const RUNS_BETWEEN_COLLECTIONS = 150

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void
process.on('warning', () => {})

const lib = await loadLib(folder)

const addon = loadAddon()
runner.shared = shared
runner.me = me
runner.addressOf = (buffer) => (isAddon(addon) ? addon.adopt(buffer)?.address : undefined)

const send = (report: Report) => port.postMessage(report)
const describe = (error: unknown) => ({
  code: (error as { code?: string }).code!,
  stack: error instanceof Error ? error.stack! : String(error),
})

runner.yield(Status.Ready)
for (let runs = 1; ; runs++) {
  const message = receiveMessageOnPort(port) as { message: Task } | undefined
  if (message !== undefined) await run(message.message)
  if (runs % RUNS_BETWEEN_COLLECTIONS === 0) {
    collect()
    await setImmediate()
    await setImmediate()
  }
  runner.yield(Status.Ready)
}

async function run({ scenario: name, token, told, memory, seed, livesOn }: Task): Promise<void> {
  const scenario = SCENARIOS.find((one) => one.name === name)!
  const thread = me - 1
  let part: Part = { heaps: [], blocks: new Blocks() }
  const account = () => ({
    held: part.blocks.held.map(({ address }) => address),
    maybes: part.blocks.maybes,
    claims: runner.claims,
  })
  runner.claims = []
  runner.sleepers = []
  try {
    part = scenario.prepare?.(lib, token, told, thread) ?? lib.attached(token)
    const heldBytes = part.blocks.held.reduce((sum, { bytes }) => sum + bytes, 0)
    send({ heldBytes })
  } catch (error) {
    send({ error: describe(error) })
    return
  }
  runner.begin(memory, seed)
  runner.yield(Status.Ready)
  runner.isOn = true
  let status = Status.Done
  try {
    let result: unknown
    try {
      result = scenario.run(part, told, thread, lib)
    } catch (error) {
      if (error !== STRUCK) throw error
    }
    if (runner.isStruck && livesOn) {
      runner.isStruck = false
      result = undefined
      runner.yield(Status.Struck)
      if (scenario.goOn !== undefined) scenario.goOn(part, told, thread, lib)
      else goOn(part)
      // Its event loop mends what the strike has left, and others wait for.
      await runner.turnLoop()
    }
    if (runner.isStruck) status = Status.Struck
    runner.drain()
    runner.isOn = false
    send({ result, ...account() })
  } catch (error) {
    runner.drain()
    runner.isOn = false
    send({ error: describe(error), ...account() })
  }
  const isDead = status === Status.Struck
  runner.yield(status)
  if (isDead) return
  try {
    for (const heap of part.heaps) heap.close()
  } catch (error) {
    send({ error: describe(error) })
  }
}

function goOn({ heaps, blocks }: Part): void {
  for (const heap of heaps) {
    blocks.free(heap, blocks.malloc(heap, 1000))
    heap.stats()
  }
}
