import test from 'ava'
import { FreeListHeap, type ObjectLayout, type ObjectType } from '../../lib/freelist/index.ts'

const INVALID = { code: 'ERR_HEAP_INVALID_ADDRESS' }

const open = () => new FreeListHeap({ limitBytes: 2 ** 26 })

test('an object is zero, its references name other objects, and its bytes hold what is written', (t) => {
  using heap = open()
  heap.view(heap.malloc(4096)).fill(0xee)
  using mutator = heap.mutator()
  const pair = mutator.defineType({ size: 40, references: [0, 24] })
  const leaf = mutator.defineType({ size: 10, references: [] })
  const one = mutator.allocate(pair)
  t.is(one.address % 16, 0)
  t.is(one.view().length, 40)
  t.true(one.view().every((value) => value === 0))
  t.is(one.getReference(0), null)
  const two = mutator.allocate(leaf)
  two.view().fill(5)
  one.setReference(24, two)
  t.is(one.getReference(24)?.address, two.address)
  t.is(one.getReference(24)?.type, leaf)
  t.is(one.getReference(0), null)
  one.setReference(0, one)
  t.is(one.getReference(0)?.address, one.address)
  one.setReference(24, null)
  t.is(one.getReference(24), null)
  t.true(two.view().every((value) => value === 5))
  heap.audit()
})

test('a reference is an address of 64 bits, low byte first', (t) => {
  using heap = open()
  const mutator = heap.mutator()
  const type = mutator.defineType({ size: 16, references: [8] })
  const [one, two] = [mutator.allocate(type), mutator.allocate(type)]
  one.setReference(8, two)
  const bytes = one.view()
  t.is(Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(8, true)), two.address)
})

test('references reach above 4 GiB', (t) => {
  using heap = new FreeListHeap({ limitBytes: 2 ** 33, growth: 'exact' })
  const mutator = heap.mutator()
  const type = mutator.defineType({ size: 32, references: [0, 16] })
  const low = mutator.allocate(type)
  for (let i = 0; i < 32; i++) heap.malloc(2 ** 27)
  const high = mutator.allocate(type)
  t.true(high.address > 2 ** 32)
  low.setReference(16, high)
  high.setReference(0, low)
  const { address } = high
  high.dispose()
  t.is(heap.collect(), 0)
  t.is(low.getReference(16)?.address, address)
  t.is(low.getReference(16)?.getReference(0)?.address, low.address)
  heap.audit()
})

test('a handle that was disposed is good for nothing', (t) => {
  using heap = open()
  const mutator = heap.mutator()
  const type = mutator.defineType({ size: 16, references: [0] })
  const one = mutator.allocate(type)
  const two = mutator.allocate(type)
  one.dispose()
  one.dispose()
  for (const call of [
    () => one.address,
    () => one.view(),
    () => one.getReference(0),
    () => one.setReference(0, two),
    () => one.setReference(0, null),
    () => two.setReference(0, one),
  ]) {
    t.throws(call, INVALID, String(call))
  }
  {
    using scope = heap.mutator()
    using three = scope.allocate(type)
    two.setReference(0, three)
  }
  t.is(two.getReference(0)?.type, type, 'what another holds stays')
})

test('a mutator that is disposed holds nothing, and can be used again', (t) => {
  using heap = open()
  const mutator = heap.mutator()
  const type = mutator.defineType({ size: 100, references: [] })
  const handle = mutator.allocate(type)
  mutator.dispose()
  mutator.dispose()
  t.throws(() => handle.address, INVALID)
  t.is(heap.collect(), 112)
  const next = mutator.allocate(type)
  t.is(heap.collect(), 0)
  t.is(next.view().length, 100)
  heap.audit()
})

test('another heap’s objects and types are refused', (t) => {
  using one = open()
  using other = open()
  const mutator = one.mutator()
  const type = mutator.defineType({ size: 16, references: [0] })
  const foreign = other.mutator()
  const foreignType = foreign.defineType({ size: 16, references: [0] })
  const handle = mutator.allocate(type)
  t.throws(() => handle.setReference(0, foreign.allocate(foreignType)), INVALID)
  t.throws(() => mutator.allocate(foreignType), { code: 'ERR_INVALID_ARG_TYPE' })
})

test('what isn’t a reference field, and what isn’t a handle', (t) => {
  using heap = open()
  const mutator = heap.mutator()
  const handle = mutator.allocate(mutator.defineType({ size: 32, references: [8] }))
  for (const offset of [0, 9, 16, 32, 2 ** 40, -8, 0.5, Number.NaN]) {
    t.throws(() => handle.getReference(offset), { code: 'ERR_OUT_OF_RANGE' }, String(offset))
    t.throws(() => handle.setReference(offset, null), { code: 'ERR_OUT_OF_RANGE' }, String(offset))
  }
  t.throws(() => handle.getReference('8' as never), { code: 'ERR_INVALID_ARG_TYPE' })
  for (const target of [undefined, 0, handle.address, {}]) {
    t.throws(() => handle.setReference(8, target as never), { code: 'ERR_INVALID_ARG_TYPE' })
  }
})

test('what isn’t a layout or a type', (t) => {
  using heap = open()
  const mutator = heap.mutator()
  const layouts: [unknown, string][] = [
    [undefined, 'ERR_INVALID_ARG_TYPE'],
    [{ references: [] }, 'ERR_INVALID_ARG_TYPE'],
    [{ size: 8 }, 'ERR_INVALID_ARG_TYPE'],
    [{ size: -1, references: [] }, 'ERR_OUT_OF_RANGE'],
    [{ size: 2 ** 40, references: [] }, 'ERR_OUT_OF_RANGE'],
    [{ size: 16, references: ['0'] }, 'ERR_INVALID_ARG_TYPE'],
    [{ size: 16, references: [4] }, 'ERR_OUT_OF_RANGE'],
    [{ size: 15, references: [8] }, 'ERR_OUT_OF_RANGE'],
    [{ size: 16, references: [8, 8] }, 'ERR_OUT_OF_RANGE'],
  ]
  for (const [layout, code] of layouts) {
    t.throws(() => mutator.defineType(layout as ObjectLayout), { code }, JSON.stringify(layout))
  }
  for (const type of [undefined, 1, { id: 1, size: 8, references: [] }]) {
    t.throws(() => mutator.allocate(type as ObjectType), { code: 'ERR_INVALID_ARG_TYPE' })
  }
  const type = mutator.defineType({ size: 0, references: [] })
  t.not(mutator.allocate(type).address, mutator.allocate(type).address)
})

test('after the heap is closed its mutators and handles say so, and can be disposed', (t) => {
  const heap = open()
  const mutator = heap.mutator()
  const type = mutator.defineType({ size: 16, references: [0] })
  const handle = mutator.allocate(type)
  heap.close()
  for (const call of [
    () => heap.mutator(),
    () => heap.collect(),
    () => mutator.defineType({ size: 16, references: [] }),
    () => mutator.allocate(type),
    () => handle.address,
    () => handle.view(),
    () => handle.getReference(0),
    () => handle.setReference(0, handle),
  ]) {
    t.throws(call, { code: 'ERR_HEAP_CLOSED' }, String(call))
  }
  handle.dispose()
  mutator.dispose()
})

test('a reference that was overwritten through the bytes is told, and nothing is collected', (t) => {
  using heap = open()
  const mutator = heap.mutator()
  const type = mutator.defineType({ size: 16, references: [0] })
  const handle = mutator.allocate(type)
  mutator.allocate(type).dispose()
  const block = heap.malloc(64)
  for (const value of [1n, 16n, BigInt(handle.address + 16), BigInt(block), 2n ** 63n, 2n ** 40n]) {
    const bytes = handle.view()
    new DataView(bytes.buffer, bytes.byteOffset).setBigUint64(0, value, true)
    const before = heap.stats()
    const error = t.throws(() => heap.collect(), { code: 'ERR_HEAP_CORRUPT' })
    t.like(error, { address: handle.address })
    t.throws(() => handle.getReference(0), { code: 'ERR_HEAP_CORRUPT' })
    t.deepEqual(heap.stats(), before)
    heap.audit()
  }
  handle.setReference(0, null)
  t.is(heap.collect(), 16)
  handle.dispose()
  t.is(heap.collect(), 16, 'the marks of a collection that failed don’t count')
  heap.audit()
})
