import test from 'ava'
import { FreeListHeap, type FreeListHeapOptions } from '../../lib/freelist/index.ts'

test('wrong options are told by code', (t) => {
  const wrong: [FreeListHeapOptions | unknown, string][] = [
    [null, 'ERR_INVALID_ARG_TYPE'],
    [{ limitBytes: 0 }, 'ERR_OUT_OF_RANGE'],
    [{ search: 'best' }, 'ERR_OUT_OF_RANGE'],
    [{ search: 1 }, 'ERR_INVALID_ARG_TYPE'],
    [{ growth: 'fast' }, 'ERR_OUT_OF_RANGE'],
    [{ growth: 4096 }, 'ERR_INVALID_ARG_TYPE'],
    [{ growth: null }, 'ERR_INVALID_ARG_TYPE'],
    [{ growth: {} }, 'ERR_OUT_OF_RANGE'],
    [{ growth: { step: 4096, percent: 10 } }, 'ERR_OUT_OF_RANGE'],
    [{ growth: { step: 0 } }, 'ERR_OUT_OF_RANGE'],
    [{ growth: { step: '4096' } }, 'ERR_INVALID_ARG_TYPE'],
    [{ growth: { percent: -1 } }, 'ERR_OUT_OF_RANGE'],
    [{ growth: { percent: Number.NaN } }, 'ERR_OUT_OF_RANGE'],
    [{ collectAfterBytes: -1 }, 'ERR_OUT_OF_RANGE'],
    [{ collectAfterBytes: '1' }, 'ERR_INVALID_ARG_TYPE'],
    [{ ledger: { file: 1 } }, 'ERR_INVALID_ARG_TYPE'],
  ]
  for (const [options, code] of wrong) {
    t.throws(() => new FreeListHeap(options as FreeListHeapOptions), { code }, JSON.stringify(options))
  }
})

test('a heap at its default limit reserves no more than 32 GiB and its tables', (t) => {
  using heap = new FreeListHeap()
  t.true(heap.stats().reservedBytes <= 2 ** 35 + 2 ** 29)
  heap.free(heap.malloc(1))
  t.is(heap.stats().threads, 1)
  t.deepEqual(heap.systemCalls(), [])
  t.true(heap.residentBytes() === null || heap.residentBytes()! > 0)
})
