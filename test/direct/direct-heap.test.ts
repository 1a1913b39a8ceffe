import test from 'ava'
import { DirectHeap } from '../../lib/direct/index.ts'
import { reportOf, runChild } from '../support/child.ts'

const MIB = 2 ** 20

/** The scenarios of children/direct-heap.ts, each in a process of its own: what they report, where they end as they should. */
const scenarios: Record<string, Record<string, unknown>> = {
  'a transferred view': { before: 5, again: 5, length: MIB, after: [1, 0] },
  'a view that a worker has': { before: 5, after: 0 },
  'a compression that runs': { isDone: true, length: 32 * MIB },
  'a read that runs': { bytesRead: 64 * MIB },
  'a close while a compression runs': { isDone: true, length: 32 * MIB },
  'addresses go with the last view': {
    mappedBytes: 0,
    reservedBytes: 0,
    syscalls: { mmap: 21, munmap: 21, madvise: 20 },
  },
  'viewed blocks without end': { isBounded: true },
}

for (const [scenario, expected] of Object.entries(scenarios)) {
  test(`a freed block that V8 still holds stays mapped: ${scenario}`, async (t) => {
    t.deepEqual(reportOf(await runChild('direct-heap', [scenario])), expected)
  })
}

test('a block that nobody has viewed is one mmap and one munmap', (t) => {
  const heap = new DirectHeap()
  const address = heap.realloc(heap.calloc(1, 100), 10_000)
  heap.touch(address, 10_000, 64)
  heap.free(address)
  t.deepEqual(heap.stats().syscalls, { mmap: 2, munmap: 2, madvise: 0 })
  t.is(heap.stats().reservedBytes, 0)
  heap.close()
})

test('an aligned block takes the alignment less a page more, and no more', (t) => {
  const heap = new DirectHeap({ limitBytes: 2 * MIB })
  heap.alignedAlloc(MIB, MIB)
  t.true(heap.stats().mappedBytes < 2 * MIB)
  heap.close()
})

test('a direct heap checks its limit', (t) => {
  for (const value of ['64', null, {}, true, 64n]) {
    t.throws(() => new DirectHeap({ limitBytes: value as number }), { code: 'ERR_INVALID_ARG_TYPE' })
  }
  for (const value of [-1, 0, Number.NaN, Infinity, 2 ** 53]) {
    t.throws(() => new DirectHeap({ limitBytes: value }), { instanceOf: RangeError, code: 'ERR_OUT_OF_RANGE' })
  }
})
