import { constants } from 'node:buffer'
import test from 'ava'
import { BufferPool, Heap } from '../../lib/index.ts'
import { checkBehaviour, checkPoolOptions } from '../../lib/pool/pool-options.ts'

const LIMIT_BYTES = 2 ** 26

test('options: what isn’t chosen', (t) => {
  const { heap, ownsHeap, ...checked } = checkPoolOptions({ size: 1000 })
  t.true(ownsHeap)
  heap.close()
  t.like(checked, { shape: { size: 1000, alignment: 0, zero: 0, most: 2 ** 20 }, mostWhenShared: 65_536, min: 0 })
  t.like(checked, { idleMost: Math.floor((16 * 2 ** 20) / 1000), trimMs: 1000 })
  t.is(checkBehaviour({}, 2 ** 24).idleMost, 4, 'room for four')
  t.is(checkBehaviour({ idleBytes: 2500 }, 1000).idleMost, 2)
  t.is(checkBehaviour({ idleBytes: 0, min: 3 }, 1000).idleMost, 3)
  using mine = new Heap({ limitBytes: LIMIT_BYTES })
  const own = checkPoolOptions({ size: 8, heap: mine, max: 5, zero: 'release', alignment: 64 })
  t.like(own, { ownsHeap: false, mostWhenShared: 5, shape: { size: 8, alignment: 64, zero: 2, most: 5 } })
  t.is(own.heap, mine)
})

test('options of the wrong type or out of range are told by code', (t) => {
  const wrong: [Record<string, unknown>, string][] = [
    ...[undefined, null, '7', {}, 7n].map((size): [Record<string, unknown>, string] => [
      { size },
      'ERR_INVALID_ARG_TYPE',
    ]),
    ...[0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, constants.MAX_LENGTH + 1, 2 ** 36].map(
      (size): [Record<string, unknown>, string] => [{ size }, 'ERR_OUT_OF_RANGE']
    ),
    ...['max', 'min', 'idleBytes', 'trimMs', 'alignment'].flatMap((name): [Record<string, unknown>, string][] => [
      [{ [name]: '7' }, 'ERR_INVALID_ARG_TYPE'],
      [{ [name]: null }, 'ERR_INVALID_ARG_TYPE'],
      [{ [name]: -1 }, 'ERR_OUT_OF_RANGE'],
      [{ [name]: 1.5 }, 'ERR_OUT_OF_RANGE'],
      [{ [name]: 2 ** 53 }, 'ERR_OUT_OF_RANGE'],
    ]),
    [{ max: 0 }, 'ERR_OUT_OF_RANGE'],
    [{ alignment: 48 }, 'ERR_OUT_OF_RANGE'],
    [{ alignment: 2 ** 27 }, 'ERR_OUT_OF_RANGE'],
    [{ heap: {} }, 'ERR_INVALID_ARG_TYPE'],
    [{ heap: null }, 'ERR_INVALID_ARG_TYPE'],
    [{ zero: true }, 'ERR_INVALID_ARG_TYPE'],
    [{ zero: 'always' }, 'ERR_OUT_OF_RANGE'],
    [{ tag: 7 }, 'ERR_INVALID_ARG_TYPE'],
    [{ leaks: 'none' }, 'ERR_OUT_OF_RANGE'],
  ]
  for (const [options, code] of wrong)
    t.throws(() => new BufferPool({ size: 100, ...options } as never), { code }, Object.keys(options).join())
  for (const value of [null, 7, 'x']) t.throws(() => new BufferPool(value as never), { code: 'ERR_INVALID_ARG_TYPE' })
  t.throws(() => new BufferPool(undefined as never), { instanceOf: TypeError })
})
