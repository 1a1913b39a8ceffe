import test from 'ava'
import { checkGrowth, growthBytes } from '../../lib/freelist/growth.ts'
import { FreeListHeap, type Growth } from '../../lib/freelist/index.ts'
import { SimulatedMapper } from '../../lib/testing/index.ts'

const MIB = 2 ** 20
const BLOCKS = 1000
const SIZE = 10_000

/** Allocates 10 MB in blocks of 10 KB. The lengths that the heap grew by, but for the first block, for which the tables grow too. */
function grow(options: { growth?: Growth }): { lengths: number[]; mappedBytes: number } {
  const mapper = new SimulatedMapper()
  using heap = new FreeListHeap({ limitBytes: 64 * MIB, mapper, ...options })
  heap.malloc(SIZE)
  const before = mapper.ring().length
  for (let i = 1; i < BLOCKS; i++) heap.malloc(SIZE)
  heap.audit()
  const lengths = mapper
    .ring()
    .slice(before)
    .map(({ length }) => length)
  return { lengths, mappedBytes: heap.stats().mappedBytes }
}

test('the more the heap grows by, the fewer system calls it takes', (t) => {
  const exact = grow({ growth: 'exact' })
  const step = grow({ growth: { step: MIB } })
  const percent = grow({ growth: { percent: 25 } })
  const doubled = grow({ growth: { percent: 100 } })
  t.is(exact.lengths.length, 999, 'one for each block: as if malloc were a system call')
  t.true(exact.lengths.every((length) => length <= 12_288))
  t.is(exact.mappedBytes, 10_018_816)
  t.deepEqual(step.lengths, Array(9).fill(MIB))
  t.is(percent.lengths.length, 27)
  t.true(percent.mappedBytes <= 1.25 * exact.mappedBytes)
  t.is(doubled.lengths.length, 10)
  t.deepEqual(grow({}), percent, 'the default')
})

test('the policy alone: what is needed, a multiple of the step, a share of what there is', (t) => {
  t.is(growthBytes(checkGrowth('exact', 4096), 8192, 100 * MIB), 8192)
  t.is(growthBytes(checkGrowth({ step: 10_000 }, 4096), 4096, 0), 12_288, 'a step is whole system pages')
  t.is(growthBytes(checkGrowth({ step: MIB }, 4096), MIB + 1, 0), 2 * MIB)
  t.is(growthBytes(checkGrowth({ percent: 10 }, 65_536), 65_536, 100 * MIB), 10 * MIB)
  t.is(growthBytes(checkGrowth({ percent: 10 }, 4096), 20 * MIB, 100 * MIB), 20 * MIB)
  t.is(growthBytes(checkGrowth({ percent: 0.5 }, 4096), 4096, MIB), 8192)
})

test('the limit cuts the last step short', (t) => {
  using heap = new FreeListHeap({ limitBytes: 5 * MIB, growth: { step: 2 * MIB }, mapper: new SimulatedMapper() })
  for (let i = 0; i < 5; i++) heap.malloc(MIB - 16)
  t.is(heap.stats().mappedBytes, 5 * MIB)
  t.is(heap.stats().pageHeapFreeBytes, 0)
  t.throws(() => heap.malloc(0), { code: 'ERR_HEAP_OUT_OF_MEMORY' })
  heap.audit()
})

test('where the system has too little for a step, it is asked for what the block needs', (t) => {
  const mapper = new SimulatedMapper()
  using heap = new FreeListHeap({ limitBytes: 64 * MIB, growth: { step: 8 * MIB }, mapper })
  heap.malloc(7 * MIB)
  mapper.limitBytes = mapper.pagesGrown * 4096 + 3 * MIB
  heap.malloc(2 * MIB)
  t.true(heap.stats().mappedBytes < 10 * MIB)
  const error = t.throws(() => heap.malloc(4 * MIB), { code: 'ERR_HEAP_OUT_OF_MEMORY' })
  t.like(error, { syscall: 'mmap', requested: 4 * MIB })
  heap.audit()
})

test('a free block at the end grows, and nothing grows while there is room', (t) => {
  const mapper = new SimulatedMapper()
  using heap = new FreeListHeap({ limitBytes: 64 * MIB, growth: 'exact', mapper })
  heap.malloc(100)
  const last = heap.malloc(40_000)
  heap.free(last)
  const { mappedBytes, syscalls } = heap.stats()
  t.is(heap.malloc(40_000), last)
  heap.free(last)
  t.deepEqual(heap.stats().syscalls, syscalls)
  t.is(heap.malloc(60_000), last)
  t.is(heap.stats().mappedBytes, mappedBytes + 20_480)
  t.is(heap.stats().syscalls.mmap, syscalls.mmap + 1)
  heap.audit()
})

test('the tables grow in steps, one for 128 MiB of heap', (t) => {
  const mapper = new SimulatedMapper()
  using heap = new FreeListHeap({ limitBytes: 512 * MIB, growth: { step: 128 * MIB }, mapper })
  const { mmap } = heap.stats().syscalls
  t.is(mmap, 3, 'the heap’s address space, the tables’, and their fixed part')
  heap.malloc(500 * MIB)
  t.is(heap.stats().syscalls.mmap, mmap + 2)
  heap.audit()
})
