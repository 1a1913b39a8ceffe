import test from 'ava'
import { DirectHeap } from '../../lib/direct/index.ts'
import { FreeListHeap } from '../../lib/freelist/index.ts'
import { GoHeap } from '../../lib/go/index.ts'
import { BufferPool, BufferWriter, Channel, Heap, PoolSet } from '../../lib/index.ts'
import { struct, u8 } from '../../lib/struct/index.ts'
import { SimulatedMapper } from '../../lib/testing/index.ts'

const heap = new Heap()
const pool = new BufferPool({ size: 10 })
const go = new GoHeap()
test.after.always(() => {
  for (const open of [pool, heap, go]) open.close()
})

type Options = never

/** Every call that takes options: with what it is given, and which of its own names was meant. */
const CALLS: Record<string, [call: (options: Options) => unknown, wrong: object, meant: string | undefined]> = {
  'new Heap': [(options) => new Heap(options), { limit: 1 }, 'limitBytes'],
  'the ledger of a heap': [(ledger) => new Heap({ ledger }), { rings: 1 }, 'ring'],
  'Heap.attach': [(options) => Heap.attach(heap.share(), options), { limitBytes: 1 }, undefined],
  'heap.allocBuffer': [(options) => heap.allocBuffer(10, options), { zeroed: true }, 'zero'],
  'heap.allocArray': [(options) => heap.allocArray(Int8Array, 10, options), { align: 16 }, 'alignment'],
  'heap.block': [(options) => heap.block(10, options), { zeros: true }, 'zero'],
  'heap.arena': [(options) => heap.arena(options), { limitByte: 1 }, 'limitBytes'],
  'arena.arena': [(options) => heap.arena().arena(options), { label: '' }, undefined],
  'heap.handles': [(options) => heap.handles(options), { maxx: 3 }, 'max'],
  'heap.stats': [(options) => heap.stats(options), { details: true }, 'detail'],
  'new BufferWriter': [(options) => new BufferWriter(options), { size: 3 }, 'sizeHint'],
  'new Channel': [(options) => new Channel(heap, options), { size: 3 }, undefined],
  'new BufferPool': [(options) => new BufferPool(options), { size: 1, maxx: 3 }, 'max'],
  'a bound of a pool, in bytes': [(options) => new BufferPool(options), { size: 1, maxBytes: 3 }, 'max'],
  'BufferPool.attach': [(options) => BufferPool.attach(pool.share(), options), { max: 3 }, undefined],
  'new PoolSet': [(options) => new PoolSet(options), { size: 3 }, 'sizes'],
  'pool.read': [(options) => pool.read([] as never, options), { begin: 0 }, undefined],
  'new GoHeap': [(options) => new GoHeap(options), { gcPercentage: 100 }, 'gcPercent'],
  'go.defineType': [(layout) => go.defineType(layout), { size: 8, pointers: [], pointer: 0 }, 'pointers'],
  'new FreeListHeap': [(options) => new FreeListHeap(options), { collectAfter: 1 }, 'collectAfterBytes'],
  'growth of a list heap': [(growth) => new FreeListHeap({ growth }), { percents: 3 }, 'percent'],
  'mutator.defineType': [(layout) => new FreeListHeap().mutator().defineType(layout), { size: 8, refs: [] }, undefined],
  'new DirectHeap': [(options) => new DirectHeap(options), { limitbytes: 1 }, 'limitBytes'],
  'new SimulatedMapper': [(system) => new SimulatedMapper(system), { pageSize: 4096 }, 'systemPageSize'],
  struct: [(options) => struct({ n: u8 }, options), { pack: true }, 'packed'],
}

for (const [name, [call, wrong, meant]] of Object.entries(CALLS)) {
  test(`${name}: an unknown option is an error that names it`, (t) => {
    const error = t.throws(() => call(wrong as Options), { instanceOf: TypeError, code: 'ERR_INVALID_ARG_VALUE' })
    const key = Object.keys(wrong).at(-1)!
    t.true(error.message.includes(`.${key} is unknown`), error.message)
    t.is(/did you mean (\w+)\?/.exec(error.message)?.[1], meant)
  })
}

test('so is one of a call that returns a promise', async (t) => {
  const wrong = { abort: AbortSignal.timeout(1) } as Options
  for (const call of [
    () => pool.acquireAsync(wrong),
    () => pool.leaseAsync(wrong),
    () => pool.write(null!, Buffer.alloc(1), wrong),
  ])
    await t.throwsAsync(call, { instanceOf: TypeError, code: 'ERR_INVALID_ARG_VALUE', message: /abort is unknown/ })
})

test('options are checked before anything is made of them', (t) => {
  const { liveBytes } = heap.stats()
  for (const name of ['heap.allocBuffer', 'heap.block', 'heap.arena', 'heap.handles', 'new Channel'])
    t.throws(() => CALLS[name]![0]({ nonsense: 1 } as Options))
  t.is(heap.stats().liveBytes, liveBytes)
})

test('messages say what was given, and each choice once', (t) => {
  const told = (options: object) => t.throws(() => new Heap(options))!.message
  t.is(told({ leaks: 'al' }), 'leaks must be one of off, sampled, all, not al')
  t.is(told({ leaks: null }), 'leaks must be one of off, sampled, all, not null')
  t.is(told({ limitBytes: '1' }), 'limitBytes must be a number, not the string "1"')
  t.is(told({ debug: new Map() }), 'debug must be a boolean, not an instance of Map')
  t.is(t.throws(() => heap.malloc(undefined!))!.message, 'size must be a number, not undefined')
  t.is(t.throws(() => heap.free(3n as never))!.message, 'address must be a number, not the bigint 3')
})

test('what a limit refuses says which limit that is, and what to do', (t) => {
  const small = new Heap({ limitBytes: 2 ** 20 })
  const full = new BufferPool({ size: 10, max: 1 })
  full.acquire()
  const told = (call: () => unknown) => t.throws(call, { name: 'AllocatorError' })!.message
  t.regex(
    told(() => small.malloc(2 ** 21)),
    /^2097152 bytes don't fit in the heap's limit: free .*, or .* limitBytes$/
  )
  t.regex(
    told(() => small.arena({ limitBytes: 100 }).malloc(200)),
    /^200 bytes don't fit in the arena's limit: free/
  )
  t.regex(
    told(() => full.acquire()),
    /^all 1 buffers are in use: release one, wait by acquireAsync\(\), or raise max$/
  )
  small.close()
  full.close()
})
