import test from 'ava'
import fc from 'fast-check'
import { Heap, type PassedBlock } from '../../lib/index.ts'

const RUNS = Number(process.env.SPANHEAP_PASS_RUNS ?? 12)

/** Who has a block: one of two threads, or nobody yet. */
interface Owned {
  by: number | 'nobody'
  address: number
  stamp: number
  length: number
  view?: Buffer
  passed?: PassedBlock
}

type Step =
  | { kind: 'alloc'; thread: number; size: number }
  | { kind: 'free' | 'pass' | 'adopt' | 'stale' | 'wrong'; thread: number; pick: number }

const THREADS = 2

const steps: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('alloc' as const),
      thread: fc.nat(THREADS - 1),
      size: fc.oneof(fc.nat(200), fc.nat(400_000)),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constantFrom(
        'free' as const,
        'pass' as const,
        'pass' as const,
        'adopt' as const,
        'stale' as const,
        'wrong' as const
      ),
      thread: fc.nat(THREADS - 1),
      pick: fc.nat(2 ** 20),
    }),
  }
)

/** Two threads' parts of one heap, and a model that knows whose each block is. */
class Model {
  private readonly heaps: Heap[]
  private readonly blocks: Owned[] = []
  /** Values that were adopted. */
  private readonly used: PassedBlock[] = []
  private stamps = 0

  constructor(leaks: 'off' | 'all') {
    const heap = new Heap({ limitBytes: 2 ** 28, leaks })
    this.heaps = [heap, Heap.attach(heap.share(), { leaks })]
  }

  step(step: Step): void {
    const heap = this.heaps[step.thread]!
    if (step.kind === 'alloc') {
      const view = heap.allocBuffer(step.size)
      const stamp = ++this.stamps & 0xff
      const { byteOffset: address, length } = view.fill(stamp)
      this.blocks.push({ by: step.thread, address, length, stamp, view })
      return
    }
    const { kind, pick } = step
    if (kind === 'stale') {
      const value = this.used[pick % Math.max(1, this.used.length)]
      if (value !== undefined) mustThrow(() => heap.adopt(value), 'ERR_HEAP_STALE_HANDLE')
      return
    }
    const wanted = this.blocks.filter(
      ({ by }) => by === (kind === 'adopt' || kind === 'wrong' ? 'nobody' : step.thread)
    )
    const block = wanted[pick % Math.max(1, wanted.length)]
    if (block === undefined) return
    if (kind === 'free') {
      check(block)
      heap.freeBuffer(block.view!)
      this.blocks.splice(this.blocks.indexOf(block), 1)
    } else if (kind === 'pass') {
      check(block)
      block.passed = heap.pass(block.view!)
      block.by = 'nobody'
    } else if (kind === 'wrong') {
      for (const call of [() => heap.free(block.address), () => heap.bufferAt(block.address)])
        mustThrow(call, 'ERR_HEAP_INVALID_ADDRESS')
      mustThrow(() => heap.adopt({ ...block.passed!, length: block.length + 1 }), 'ERR_HEAP_STALE_HANDLE')
    } else {
      block.view = heap.adopt(structuredClone(block.passed!))
      this.used.push(block.passed!)
      block.by = step.thread
      check(block)
    }
  }

  checkAll(): void {
    const heap = this.heaps[0]!
    const { liveBytes, passedBytes } = heap.stats()
    const bytesOf = (blocks: Owned[]) =>
      blocks.reduce((sum, { address, by, passed }) => sum + this.usable(address, by, passed), 0)
    const passed = this.blocks.filter(({ by }) => by === 'nobody')
    const adopted = bytesOf(passed)
    if (passedBytes !== adopted) throw new Error(`${passedBytes} bytes are passed, not ${adopted}`)
    const all = bytesOf(this.blocks.filter(({ by }) => by !== 'nobody')) + adopted
    if (liveBytes !== all) throw new Error(`${liveBytes} bytes are live, not ${all}`)
  }

  /** The other thread goes; whatever is passed is adopted, everything is freed, and nothing is left. */
  end(): void {
    const [heap, other] = this.heaps as [Heap, Heap]
    for (const block of this.blocks.splice(0)) {
      if (block.by === 'nobody') block.view = heap.adopt(block.passed!)
      check(block)
      this.heaps[block.by === 'nobody' ? 0 : block.by]!.freeBuffer(block.view!)
    }
    other.close()
    heap.audit()
    const { liveBytes, passedBytes } = heap.stats()
    if (liveBytes !== 0 || passedBytes !== 0) throw new Error(`${liveBytes} bytes are live, ${passedBytes} passed`)
    heap.close()
  }

  /** Usable bytes; of one that is passed nobody tells, so it is adopted and passed anew, by which its value changes. */
  private usable(address: number, by: Owned['by'], passed?: PassedBlock): number {
    const heap = this.heaps[0]!
    if (by !== 'nobody') return heap.usableSize(address)
    const view = heap.adopt(passed!)
    const usable = heap.usableSize(address)
    const block = this.blocks.find((other) => other.passed === passed)!
    this.used.push(passed!)
    block.passed = heap.pass(view)
    return usable
  }
}

function check({ view, stamp, length, address }: Owned): void {
  if (view!.length !== length || view!.byteOffset !== address) throw new Error('the block is another one')
  if (length > 0 && !view!.equals(Buffer.alloc(length, stamp))) throw new Error('the bytes are another’s')
}

function mustThrow(call: () => unknown, code: string): void {
  try {
    call()
  } catch (error) {
    if ((error as { code?: string }).code === code) return
    throw error
  }
  throw new Error(`no ${code}`)
}

for (const leaks of ['off', 'all'] as const) {
  test(`two threads pass, adopt and free at random: each block is always one’s, or nobody’s (leaks: ${leaks})`, (t) => {
    fc.assert(
      fc.property(fc.array(steps, { minLength: 20, maxLength: 300, size: 'max' }), (list) => {
        const model = new Model(leaks)
        for (const [at, step] of list.entries()) {
          model.step(step)
          if (at % 25 === 0) model.checkAll()
        }
        model.end()
      }),
      { numRuns: RUNS }
    )
    t.pass()
  })
}
