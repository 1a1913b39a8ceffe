import { subscribe } from 'node:diagnostics_channel'
import test from 'ava'
import fc from 'fast-check'
import { PoolModel, STEPS, type StepName } from '../support/pool-model.ts'

/** Cases; longer by hand: SPANHEAP_POOL_CASES=100000 npx ava --timeout=10h dist/test/pool/buffer-pool-model.test.js */
const CASES = Number(process.env.SPANHEAP_POOL_CASES ?? 80)

/** A step of the model as fast-check runs it: all state is in the real one, which has the reference beside it. */
class Step implements fc.AsyncCommand<object, PoolModel> {
  private readonly name: StepName
  private readonly pick: number

  constructor(name: StepName, pick: number) {
    this.name = name
    this.pick = pick
  }

  check(): boolean {
    return true
  }

  run(_: object, model: PoolModel): Promise<void> {
    return model.step(this.name, this.pick)
  }

  toString(): string {
    return `${this.name}(${this.pick})`
  }
}

const common = STEPS.filter((name) => name !== 'close')
const steps = fc.commands(
  [
    ...common.map((name) => fc.nat(1000).map((pick) => new Step(name, pick))),
    // Acquire and release the most, close the least.
    ...(['acquire', 'acquireAsync', 'release', 'release', 'hold', 'letGo'] as const).map((name) =>
      fc.nat(1000).map((pick) => new Step(name, pick))
    ),
    fc.nat(9).map((pick) => new Step(pick === 0 ? 'close' : 'acquire', pick)),
  ],
  { maxCommands: 120, size: 'max' }
)
const settings = fc.record({
  max: fc.integer({ min: 1, max: 20 }),
  leaks: fc.constantFrom('off' as const, 'all' as const),
  idleBytes: fc.constantFrom(0, 200, 10_000),
})

test('a pool does what the reference does: never two owners, nothing lost', async (t) => {
  t.timeout(24 * 60 * 60 * 1000)
  await fc.assert(
    fc.asyncProperty(settings, steps, async ({ max, leaks, idleBytes }, commands) => {
      const model = new PoolModel(max, leaks, idleBytes)
      await fc.asyncModelRun(() => ({ model: {}, real: model }), commands)
      await model.finish()
    }),
    { numRuns: CASES }
  )
  t.pass()
})

// Cases with leaks: 'all' drop buffers where they close a shared pool, on purpose: who listens gets no warnings.
subscribe('spanheap:leak', () => {})
