import test from 'ava'
import fc from 'fast-check'
import { Heap } from '../../lib/index.ts'
import { SimulatedMapper } from '../../lib/testing/index.ts'
import { collectGarbage } from '../support/garbage.ts'
import { minimize } from '../support/minimize.ts'
import { HeapModel, ModelError, occupancyFor } from '../support/model.ts'
import { decode, describe, MOST_CODE, type Operation } from '../support/operations.ts'

/** Calls on heaps in all. Longer by hand: SPANHEAP_PROPERTY_OPERATIONS=100000000 npx ava --timeout=10h dist/test/heap/heap-model.test.js */
const CALLS = Number(process.env.SPANHEAP_PROPERTY_OPERATIONS ?? 150_000)
/** To repeat a run: the seed that a failure reported. */
const SEED = process.env.SPANHEAP_PROPERTY_SEED

const LIMIT_BYTES = 2 ** 30
const MOST_OPERATIONS = 12_000
/** Some operations are runs of calls: about so many on average. */
const CALLS_PER_OPERATION = 3.3
const CALLS_PER_CASE = (MOST_OPERATIONS / 2) * CALLS_PER_OPERATION

interface System {
  name: string
  /** None: the real one. */
  simulate?: () => SimulatedMapper
  /** Of a block that is there from first to last, in front of all others. */
  heldBytes?: number
}

const systems: System[] = [
  { name: 'native' },
  { name: 'native, addresses above 2 GiB', heldBytes: 2 ** 31 },
  { name: 'simulated, 4 KiB pages', simulate: () => new SimulatedMapper({ systemPageSize: 4096 }) },
  { name: 'simulated, 16 KiB pages', simulate: () => new SimulatedMapper({ systemPageSize: 16384 }) },
  {
    name: 'simulated, 64 KiB pages that come back with undefined contents',

    simulate: () => new SimulatedMapper({ systemPageSize: 65536, releaseZeroes: false }),
  },
]

interface Tuning {
  cacheBytes: number
  releaseRate: number
}

const tunings: fc.Arbitrary<Tuning> = fc.record({
  cacheBytes: fc.constantFrom(32 * 2 ** 20, 2 ** 20, 0),
  releaseRate: fc.constantFrom(1, 1000, 0),
})
/** Lengths are drawn evenly, without fast-check's preference for short ones: so the number of cases tells that of calls. */
const scripts = fc.noBias(fc.array(fc.integer({ min: 0, max: MOST_CODE }), { maxLength: MOST_OPERATIONS, size: 'max' }))

for (const { name, simulate, heldBytes = 0 } of systems) {
  test.serial(`a heap does what the reference does: ${name}`, async (t) => {
    t.timeout(24 * 60 * 60 * 1000)
    const limitBytes = LIMIT_BYTES + heldBytes
    const occupied = occupancyFor(limitBytes)
    let calls = 0

    /** Plays on a new heap; what went wrong, if anything. */
    const fault = async (tuning: Tuning, operations: readonly Operation[]): Promise<unknown> => {
      const mapper = simulate?.()
      const options = { ...tuning, limitBytes, ...(mapper === undefined ? {} : { mapper }) }
      const heap = new Heap(options)
      const model = new HeapModel(heap, mapper?.maxAlignment ?? limitBytes, occupied)
      try {
        if (heldBytes > 0) model.hold(heldBytes)
        model.play(operations)
        model.finish()
        return undefined
      } catch (error) {
        model.abandon()
        return error
      } finally {
        calls += model.calls
        heap.close()
        // Shared buffers don't weigh on V8, which would let them pile up.
        await collectGarbage()
      }
    }

    const property = fc.asyncProperty(tunings, scripts, async (tuning, codes) => {
      return (await fault(tuning, codes.map(decode))) === undefined
    })
    const numRuns = Math.max(1, Math.round(CALLS / systems.length / CALLS_PER_CASE))
    const seed = SEED === undefined ? {} : { seed: Number(SEED) }
    const outcome = await fc.check(property, { numRuns, endOnFailure: true, ...seed })
    t.log(`${calls} calls in ${outcome.numRuns} cases`)
    if (outcome.counterexample !== null) {
      const [tuning, codes] = outcome.counterexample
      const failing = await minimize(codes.map(decode), async (operations) => {
        const error = await fault(tuning, operations)
        return error instanceof ModelError ? error.index : error === undefined ? -1 : operations.length
      })
      const listing = failing.map((operation) => `  ${describe(operation)}`).join('\n')
      const error = await fault(tuning, failing)
      t.fail(`${String(error)}\nseed ${outcome.seed}, ${JSON.stringify(tuning)}, operations:\n${listing}`)
    }
    t.false(outcome.failed)
  })
}
