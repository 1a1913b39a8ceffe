import test from 'ava'
import { GoHeap, type GoHeapOptions } from '../../lib/go/index.ts'

test('a heap at its default limit reserves no more than 32 GiB and its tables', (t) => {
  using heap = new GoHeap()
  t.true(heap.stats().reservedBytes <= 2 ** 35 + 2 ** 34)
  heap.free(heap.malloc(1))
  t.is(heap.stats().threads, 1)
  t.deepEqual(heap.systemCalls(), [])
  t.true(heap.residentBytes() === null || heap.residentBytes()! > 0)
  heap.close()
  t.is(heap.residentBytes(), 0)
})

test('wrong options are told by code', (t) => {
  const wrong: [unknown, string][] = [
    [null, 'ERR_INVALID_ARG_TYPE'],
    [64, 'ERR_INVALID_ARG_TYPE'],
    [{ limitBytes: 0 }, 'ERR_OUT_OF_RANGE'],
    [{ limitBytes: 2 ** 35 + 8192 }, 'ERR_OUT_OF_RANGE'],
    [{ limitBytes: '1' }, 'ERR_INVALID_ARG_TYPE'],
    [{ gcPercent: '100' }, 'ERR_INVALID_ARG_TYPE'],
    [{ gcPercent: null }, 'ERR_INVALID_ARG_TYPE'],
    [{ gcPercent: -2 }, 'ERR_OUT_OF_RANGE'],
    [{ gcPercent: 0.5 }, 'ERR_OUT_OF_RANGE'],
    [{ gcPercent: Number.NaN }, 'ERR_OUT_OF_RANGE'],
    [{ memoryLimit: '1' }, 'ERR_INVALID_ARG_TYPE'],
    [{ memoryLimit: -1 }, 'ERR_OUT_OF_RANGE'],
    [{ memoryLimit: 1.5 }, 'ERR_OUT_OF_RANGE'],
    [{ memoryLimit: Number.NaN }, 'ERR_OUT_OF_RANGE'],
    [{ onCycle: 1 }, 'ERR_INVALID_ARG_TYPE'],
    [{ onCycle: null }, 'ERR_INVALID_ARG_TYPE'],
    [{ ledger: { file: 1 } }, 'ERR_INVALID_ARG_TYPE'],
  ]
  for (const [options, code] of wrong) {
    t.throws(() => new GoHeap(options as GoHeapOptions), { code }, JSON.stringify(options))
  }
})

test('undefined options are the defaults, and no limit is Infinity', (t) => {
  const options = { limitBytes: undefined, gcPercent: undefined, memoryLimit: undefined }
  using heap = new GoHeap({ ...options, onCycle: undefined } as unknown as GoHeapOptions)
  t.is(heap.setGCPercent(50), 100)
  t.is(heap.setGCPercent(-1), 50)
  t.is(heap.setMemoryLimit(2 ** 30), Number.POSITIVE_INFINITY)
  t.is(heap.setMemoryLimit(Number.POSITIVE_INFINITY), 2 ** 30)
})
