import test from 'ava'
import fc from 'fast-check'
import { FreeListHeap, type Handle, type Mutator, type ObjectType } from '../../lib/freelist/index.ts'
import { SimulatedMapper } from '../../lib/testing/index.ts'

const MIB = 2 ** 20
const SEARCHES = ['all', 'free'] as const

/** A list of `length` nodes; the handle of the first one. */
function chain(mutator: Mutator, node: ObjectType, length: number): Handle {
  let head = mutator.allocate(node)
  for (let i = 1; i < length; i++) {
    const next = head
    head = mutator.allocate(node)
    head.setReference(0, next)
    next.dispose()
  }
  return head
}

for (const search of SEARCHES) {
  test(`what no handle reaches is free after a collection (${search})`, (t) => {
    using heap = new FreeListHeap({ limitBytes: 64 * MIB, search, growth: { step: MIB } })
    const mutator = heap.mutator()
    const node = mutator.defineType({ size: 32, references: [0, 8] })
    const one = chain(mutator, node, 100)
    const two = chain(mutator, node, 50)
    t.is(heap.stats().liveBytes, 150 * 32)
    t.is(heap.collect(), 0)
    one.dispose()
    t.is(heap.collect(), 100 * 32)
    t.is(heap.stats().liveBytes, 50 * 32)
    heap.audit()
    // Rings are no obstacle.
    const ring = chain(mutator, node, 10)
    ring.setReference(8, two)
    two.setReference(8, ring)
    ring.dispose()
    t.is(heap.collect(), 0)
    two.dispose()
    t.is(heap.collect(), 60 * 32)
    t.is(heap.stats().centralCacheBytes, 16, 'one free block is left')
    heap.audit()
  })
}

test('blocks from malloc are the program’s own', (t) => {
  using heap = new FreeListHeap({ limitBytes: 64 * MIB })
  const mutator = heap.mutator()
  const type = mutator.defineType({ size: 100, references: [] })
  const blocks = Array.from({ length: 50 }, (_, i) => {
    mutator.allocate(type).dispose()
    const address = heap.malloc(100)
    heap.view(address).fill(i)
    return address
  })
  t.is(heap.collect(), 50 * 112)
  for (const [i, address] of blocks.entries()) {
    t.true(heap.view(address).every((value) => value === i))
    heap.free(address)
  }
  heap.audit()
})

test('a header that was overwritten is told before anything is collected', (t) => {
  using heap = new FreeListHeap({ limitBytes: 64 * MIB })
  const mutator = heap.mutator()
  const type = mutator.defineType({ size: 100, references: [] })
  const handles = Array.from({ length: 10 }, () => mutator.allocate(type))
  const words = new Int32Array(heap.buffer, handles[5]!.address - 16, 4)
  for (const handle of handles.slice(0, 3)) handle.dispose()
  const before = words.slice()
  for (const scribbled of [
    [0, 0, 0, 0],
    [before[0]!, before[1]! + 4 * 77, before[2]!, before[3]!], // a type that there isn't
    [before[0]!, before[1]! & ~1, before[2]!, before[3]!], // free, and of a type
  ]) {
    words.set(scribbled)
    const stats = heap.stats()
    t.throws(() => heap.collect(), { code: 'ERR_HEAP_CORRUPT' }, String(scribbled))
    t.throws(() => heap.audit(), { code: 'ERR_HEAP_CORRUPT' })
    t.deepEqual(heap.stats(), stats)
    words.set(before)
  }
  t.is(heap.collect(), 3 * 112)
  heap.audit()
})

test('a list of half a million objects doesn’t overflow any stack', (t) => {
  using heap = new FreeListHeap({ limitBytes: 64 * MIB, search: 'free' })
  const mutator = heap.mutator()
  const head = chain(mutator, mutator.defineType({ size: 16, references: [0] }), 500_000)
  t.is(heap.collect(), 0)
  head.dispose()
  t.is(heap.collect(), 500_000 * 16)
  heap.audit()
})

test('objects are collected after so many bytes of them', (t) => {
  using heap = new FreeListHeap({ limitBytes: 64 * MIB, collectAfterBytes: 100_000 })
  const mutator = heap.mutator()
  const type = mutator.defineType({ size: 1000, references: [] })
  for (let i = 0; i < 1000; i++) mutator.allocate(type).dispose()
  t.is(heap.collections, 9)
  t.true(heap.stats().peakLiveBytes <= 101 * 1008)
  t.true(heap.stats().mappedBytes < 150_000)
  heap.audit()
})

test('with 0 every allocation collects, and what is being built is held', (t) => {
  using heap = new FreeListHeap({ limitBytes: 64 * MIB, collectAfterBytes: 0 })
  const mutator = heap.mutator()
  const node = mutator.defineType({ size: 32, references: [0] })
  const head = chain(mutator, node, 50)
  t.is(heap.collections, 49)
  let length = 0
  for (let at: Handle | null = head; at !== null; at = at.getReference(0)) length++
  t.is(length, 50)
})

for (const [why, options] of Object.entries({
  'the limit is reached': { limitBytes: MIB },
  'the system refuses': { limitBytes: 64 * MIB, mapper: new SimulatedMapper({ limitBytes: 3 * MIB }) },
})) {
  test(`before ${why}, objects make room: for others, and for blocks from malloc`, (t) => {
    using heap = new FreeListHeap({ ...options, collectAfterBytes: Number.POSITIVE_INFINITY })
    const mutator = heap.mutator()
    const type = mutator.defineType({ size: 1000, references: [] })
    for (let i = 0; i < 5000; i++) mutator.allocate(type).dispose()
    t.true(heap.collections > 0 && heap.collections < 20)
    const before = heap.collections
    const most = heap.stats().mappedBytes - 10_000
    heap.free(heap.malloc(most))
    t.is(heap.collections, before + 1)
    const held = [mutator.allocate(type)]
    t.throws(
      () => {
        for (;;) held.push(mutator.allocate(type))
      },
      { code: 'ERR_HEAP_OUT_OF_MEMORY' }
    )
    heap.audit()
    t.throws(() => heap.malloc(most), { code: 'ERR_HEAP_OUT_OF_MEMORY' })
    mutator.dispose()
    heap.free(heap.malloc(most))
    heap.audit()
  })
}

/** A program over a graph of objects: allocate and hold, let go, link, unlink, collect. */
type Step = {
  kind: 'allocate' | 'dispose' | 'link' | 'unlink' | 'malloc' | 'free' | 'collect'
  a: number
  b: number
  c: number
}

const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.record({
    kind: fc.constantFrom('allocate', 'allocate', 'dispose', 'link', 'link', 'unlink', 'malloc', 'free', 'collect'),
    a: fc.nat(1000),
    b: fc.nat(1000),
    c: fc.nat(1000),
  }),
  { maxLength: 400, size: 'max' }
)

const LAYOUTS = [
  { size: 0, references: [] },
  { size: 24, references: [0] },
  { size: 40, references: [32, 8] },
  { size: 200, references: [0, 8, 16, 192] },
]

/** What the model knows of an object: what is in its reference fields. */
interface Model {
  address: number
  layout: number
  fields: Map<number, Model>
}

test('what is collected is what the model can’t reach', (t) => {
  fc.assert(
    fc.property(
      steps,
      fc.constantFrom(...SEARCHES),
      fc.constantFrom(0, 2000, Number.POSITIVE_INFINITY),
      (script, search, after) => {
        using heap = new FreeListHeap({
          limitBytes: MIB,
          mapper: new SimulatedMapper(),
          search,
          collectAfterBytes: after,
        })
        const mutators = [heap.mutator(), heap.mutator()]
        const types = LAYOUTS.map((layout, i) => mutators[i % 2]!.defineType(layout))
        const held: { handle: Handle; model: Model }[] = []
        const blocks: number[] = []

        const reachable = (): Set<Model> => {
          const found = new Set<Model>(held.map(({ model }) => model))
          for (const model of found) for (const target of model.fields.values()) found.add(target)
          return found
        }
        const usable = (addresses: number[]) => addresses.reduce((sum, address) => sum + heap.usableSize(address), 0)
        /** Every reachable object is what the model says, by handles from the roots. */
        const compare = () => {
          const seen = new Set<Model>()
          const visit = (handle: Handle, model: Model) => {
            if (handle.address !== model.address || handle.type !== types[model.layout])
              throw new Error('another object')
            if (seen.has(model)) return
            seen.add(model)
            for (const offset of LAYOUTS[model.layout]!.references) {
              const target = handle.getReference(offset)
              const expected = model.fields.get(offset)
              if ((target === null) !== (expected === undefined)) throw new Error('a reference differs')
              if (target !== null) visit(target, expected!)
              target?.dispose()
            }
          }
          for (const { handle, model } of held) visit(handle, model)
        }

        for (const { kind, a, b, c } of script) {
          const one = held[a % held.length]
          const other = held[b % held.length]
          if (kind === 'allocate') {
            const layout = a % LAYOUTS.length
            const handle = mutators[b % 2]!.allocate(types[layout]!)
            if (handle.view().some((byte) => byte !== 0)) throw new Error('an object isn’t zero')
            const model = { address: handle.address, layout, fields: new Map<number, Model>() }
            held.push({ handle, model })
          } else if (kind === 'malloc') {
            blocks.push(heap.malloc(a))
            heap.view(blocks.at(-1)!).fill(0xff)
          } else if (kind === 'free') {
            if (blocks.length > 0) heap.free(blocks.splice(a % blocks.length, 1)[0]!)
          } else if (kind === 'collect') {
            heap.collect()
            const live = usable(blocks) + usable([...reachable()].map(({ address }) => address))
            if (heap.stats().liveBytes !== live)
              throw new Error(`${heap.stats().liveBytes} bytes are live, not ${live}`)
            heap.audit()
            compare()
          } else if (one !== undefined && other !== undefined) {
            const { references } = LAYOUTS[one.model.layout]!
            const offset = references[c % references.length]
            if (kind === 'dispose') {
              one.handle.dispose()
              held.splice(held.indexOf(one), 1)
            } else if (offset !== undefined && kind === 'link') {
              one.handle.setReference(offset, other.handle)
              one.model.fields.set(offset, other.model)
            } else if (offset !== undefined) {
              one.handle.setReference(offset, null)
              one.model.fields.delete(offset)
            }
          }
        }
        compare()
        for (const mutator of mutators) mutator.dispose()
        for (const block of blocks) heap.free(block)
        heap.collect()
        heap.audit()
        return heap.stats().liveBytes === 0
      }
    ),
    { numRuns: 300 }
  )
  t.pass()
})
