import test from 'ava'
import fc from 'fast-check'
import { GoHeap } from '../../lib/go/index.ts'
import { SimulatedMapper } from '../../lib/testing/index.ts'
import { collectGarbage } from '../support/garbage.ts'
import { GoGraph, GraphError } from '../support/go-graph.ts'
import { decodeLayout, decodeStep, describeStep, MOST_STEP, type Step } from '../support/go-steps.ts'
import { minimize } from '../support/minimize.ts'

/** Graphs in all. Longer by hand: SPANHEAP_GRAPHS=10000 npx ava --timeout=10h dist/test/go/reachability-model.test.js */
const GRAPHS = Number(process.env.SPANHEAP_GRAPHS ?? 150)
/** To repeat a run: the seed that a failure reported. */
const SEED = process.env.SPANHEAP_GRAPHS_SEED

const LIMIT_BYTES = 2 ** 26
const MOST_STEPS = 500
const GRAPHS_BETWEEN_GARBAGE = 20

interface System {
  name: string
  /** Of all graphs, so many. */
  part: number
  /** None: the real one. */
  simulate?: () => SimulatedMapper
  /** Of a block that is there from first to last, in front of all others. */
  heldBytes?: number
  limitBytes?: number
}

const systems: System[] = [
  { name: 'native', part: 0.6 },
  { name: 'hardly any memory', part: 0.1, limitBytes: 2 ** 20 },
  {
    name: '64 KiB pages that come back with undefined contents',

    part: 0.25,
    limitBytes: 2 ** 23,
    simulate: () => new SimulatedMapper({ systemPageSize: 65536, releaseZeroes: false }),
  },
  { name: 'addresses around 4 GiB', part: 0.03, heldBytes: 2 ** 32 - 2 ** 19 - 2 ** 13 },
  { name: 'addresses around 16 GiB', part: 0.02, heldBytes: 2 ** 34 - 2 ** 19 - 2 ** 13 },
]

interface Plan {
  /** What decodeLayout makes types of. */
  layouts: number[]
  gcPercent: number
  /** Slices that a cycle takes at least. */
  ballast: number
}

const code = fc.integer({ min: 0, max: MOST_STEP })
const plans: fc.Arbitrary<Plan> = fc.record({
  layouts: fc.noBias(fc.array(code, { minLength: 3, maxLength: 8, size: 'max' })),
  gcPercent: fc.constantFrom(-1, 0, 1, 100),
  ballast: fc.nat(8),
})
const scripts = fc.noBias(fc.array(code, { maxLength: MOST_STEPS, size: 'max' }))

for (const { name, part, simulate, heldBytes = 0, limitBytes = LIMIT_BYTES } of systems) {
  test.serial(`what is reached stays and all else goes: ${name}`, async (t) => {
    t.timeout(24 * 60 * 60 * 1000)
    let graphs = 0
    let cycles = 0
    let automatic = 0
    let fault: unknown

    /** Plays on a new heap; what went wrong, if anything. When a slice ends is a matter of time: it may go well then. */
    const play = async ({ layouts, gcPercent, ballast }: Plan, steps: readonly Step[]): Promise<unknown> => {
      const mapper = simulate?.()
      const heap = new GoHeap({
        gcPercent,
        limitBytes: heldBytes + limitBytes,
        ...(mapper === undefined ? {} : { mapper }),
      })
      try {
        const base = heldBytes === 0 ? 0 : heap.malloc(heldBytes) + heldBytes
        const graph = new GoGraph(heap, layouts.map(decodeLayout), base)
        graph.load(ballast)
        graph.play(steps)
        graph.finish()
        return undefined
      } catch (error) {
        return error
      } finally {
        const { NumGC, NumForcedGC } = heap.memStats()
        cycles += NumGC
        automatic += NumGC - NumForcedGC
        heap.close()
        // Shared buffers don't weigh on V8, which would let them pile up.
        if (++graphs % GRAPHS_BETWEEN_GARBAGE === 0) await collectGarbage()
      }
    }

    const property = fc.asyncProperty(plans, scripts, async (plan, codes) => {
      fault = await play(plan, codes.map(decodeStep))
      return fault === undefined
    })
    const numRuns = Math.max(1, Math.round(GRAPHS * part))
    const seed = SEED === undefined ? {} : { seed: Number(SEED) }
    const outcome = await fc.check(property, { numRuns, endOnFailure: true, ...seed })
    t.log(`${outcome.numRuns} graphs, ${cycles} cycles of which ${automatic} began by themselves`)
    if (outcome.counterexample !== null) {
      const [plan, codes] = outcome.counterexample
      const failing = await minimize(codes.map(decodeStep), async (steps) => {
        const error = await play(plan, steps)
        if (error !== undefined) fault = error
        return error instanceof GraphError ? error.index : error === undefined ? -1 : steps.length
      })
      const listing = failing.map((step) => `  ${describeStep(step)}`).join('\n')
      const types = JSON.stringify(plan.layouts.map(decodeLayout).map(({ size, pointers }) => ({ size, pointers })))
      t.fail(
        `${String(fault)}\nseed ${outcome.seed}, ${JSON.stringify(plan)}, types ${types.slice(0, 2000)}\n${listing}`
      )
    }
    t.false(outcome.failed)
  })
}
