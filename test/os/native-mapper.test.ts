import { constants } from 'node:os'
import test from 'ava'
import { Heap } from '../../lib/index.ts'
import type { HalvingReport } from '../children/halving.ts'
import { childScript, reportOf, run } from '../support/child.ts'
import { ALIGNMENT, nativeMapper, reserve } from '../support/native-mappers.ts'

const KIB = 1024
const MIB = 2 ** 20

/** Some kernels give a page to whoever only reads one: those that a test reads, here or in a mapping next to this one, count. */
function isAbout(resident: number | null, written: number): boolean {
  return resident !== null && resident >= written && resident <= written + 16 * 4 * KIB
}

test('address space is reserved without memory, reads as zeros, and grows where it is told to', (t) => {
  const mapper = nativeMapper()
  const mapping = reserve(mapper, 256 * MIB)
  t.is(mapping.buffer.constructor, SharedArrayBuffer)
  t.is(mapping.buffer.byteLength, 256 * MIB)
  const bytes = new Uint8Array(mapping.buffer)
  t.is(bytes[200 * MIB], 0)
  t.is(mapping.grow(64 * KIB, MIB), 0)
  bytes.fill(5, 64 * KIB, 64 * KIB + MIB)
  t.is(bytes[64 * KIB - 1], 0)
  t.is(bytes[64 * KIB + MIB], 0)
  t.true(isAbout(mapper.residentBytes(), MIB))
  t.deepEqual(mapper.syscalls(), { mmap: 2, munmap: 0, madvise: 0 })
})

test('released memory is not resident, reads as zeros, and can be used again', (t) => {
  const mapper = nativeMapper()
  const mapping = reserve(mapper, 64 * MIB)
  const bytes = new Uint8Array(mapping.buffer)
  t.is(mapping.grow(0, 8 * MIB), 0)
  bytes.fill(5, 0, 8 * MIB)
  t.true(isAbout(mapper.residentBytes(), 8 * MIB))
  t.is(mapping.release(2 * MIB, 4 * MIB), 0)
  t.true(isAbout(mapper.residentBytes(), 4 * MIB))
  t.is(bytes[2 * MIB - 1], 5)
  t.is(
    bytes.subarray(2 * MIB, 6 * MIB).findIndex((byte) => byte !== 0),
    -1
  )
  t.is(bytes[6 * MIB], 5)
  bytes.fill(6, 2 * MIB, 3 * MIB)
  t.is(bytes[3 * MIB - 1], 6)
  t.deepEqual(mapper.syscalls(), { mmap: 2, munmap: 0, madvise: 1 })
})

test('ordinary ArrayBuffers are over the same memory, as many as are asked for', (t) => {
  const mapping = reserve(nativeMapper(), MIB)
  t.is(mapping.grow(0, MIB), 0)
  const [first, second] = [mapping.unshared(), mapping.unshared()]
  t.not(first, second)
  const views = [mapping.buffer, first, second].map((buffer) => new Uint8Array(buffer, 16, 100))
  for (const [i, view] of views.entries()) {
    t.is(view.buffer.byteLength, MIB)
    view[i] = i + 1
  }
  for (const view of views) t.deepEqual([...view.subarray(0, 4)], [1, 2, 3, 0])
})

test('the real address of the first byte is a multiple of the alignment', (t) => {
  const mapper = nativeMapper({ ring: 10 })
  for (let i = 0; i < 4; i++) t.is(reserve(mapper, 3 * MIB).grow(MIB, KIB * 64), 0)
  const growths = mapper.ring().filter(({ length }) => length === 64 * KIB)
  t.is(growths.length, 4)
  for (const { address } of growths) t.is((address - MIB) % ALIGNMENT, 0)
})

test('a heap’s memory starts at such an address: alignment by its addresses is the real one', (t) => {
  const heap = new Heap({ ledger: { ring: 100 } })
  const address = heap.alignedAlloc(ALIGNMENT, 100)
  const view = heap.view(address)
  view[0] = 1
  // The heap's own growths are the only calls that start 64 KiB, its first page, behind a multiple of 64 MiB.
  const first = heap.systemCalls().filter((call) => call.call === 'mmap' && call.address % ALIGNMENT === 64 * KIB)
  t.true(first.length > 0)
  t.is(address % ALIGNMENT, 0)
  heap.close()
})

test('tables are asked to come in plain pages when they grow', (t) => {
  const mapper = nativeMapper({ ring: 10 })
  t.is(reserve(mapper, MIB, false).grow(0, 64 * KIB), 0)
  const calls = mapper.ring().map(({ call, length }) => ({ call, length }))
  t.deepEqual(calls.slice(1), [
    { call: 'mmap', length: 64 * KIB },
    { call: 'madvise', length: 64 * KIB },
  ])
})

test('an impossible reservation returns its error number, and isn’t counted among the calls that succeeded', (t) => {
  const mapper = nativeMapper({ ring: 10 })
  const refused = mapper.reserve({ byteLength: 2 ** 50, shared: true, alignment: ALIGNMENT, hugePages: true })
  t.is(refused, constants.errno.ENOMEM)
  t.deepEqual(mapper.syscalls(), { mmap: 0, munmap: 0, madvise: 0 })
  // Once more if V8 had anything to collect that takes addresses.
  t.true(mapper.ring().length === 1 || mapper.ring().length === 2)
  for (const call of mapper.ring()) t.like(call, { call: 'mmap', address: 0, errno: constants.errno.ENOMEM })
})

test('ranges outside of the reservation, or not made of pages, return an error number and change nothing', (t) => {
  const mapper = nativeMapper()
  const mapping = reserve(mapper, MIB)
  const before = mapper.syscalls()
  const { EINVAL } = constants.errno
  const wrong: [number, number][] = [
    [MIB, 4096],
    [0, MIB + 4096],
    [0, 0],
    [100, 4096],
  ]
  for (const [offset, length] of wrong) {
    t.is(mapping.grow(offset, length), EINVAL, `grow ${offset}+${length}`)
    t.is(mapping.release(offset, length), EINVAL, `release ${offset}+${length}`)
  }
  for (const offset of [-4096, 0.5, Number.NaN, 2 ** 53]) {
    t.throws(() => mapping.grow(offset, 4096), { instanceOf: TypeError })
    t.throws(() => mapping.release(0, offset), { instanceOf: TypeError })
  }
  t.deepEqual(mapper.syscalls(), before)
})

test('where address space is short, a heap reserves half of it, and half again, until the system agrees', async (t) => {
  const GIB_IN_KIB = 2 ** 20
  const ended = await run('sh', [
    '-c',
    `ulimit -v ${6 * GIB_IN_KIB} && exec "$@"`,
    'sh',
    process.execPath,
    childScript('halving'),
    String(16 * 2 ** 30),
  ])
  const { stats, calls, served, error } = reportOf<HalvingReport>(ended)
  const refused = calls.filter(({ errno }) => errno !== undefined)
  t.true(refused.length >= 2 && refused.length <= 3, `${refused.length} reservations were refused`)
  for (const { call, errno } of refused) t.deepEqual({ call, errno }, { call: 'mmap', errno: constants.errno.ENOMEM })
  t.true(stats.reservedBytes < 6 * 2 ** 30)
  t.is(stats.syscalls.mmap, calls.filter(({ call }) => call === 'mmap').length - refused.length)
  t.true(served >= 64 * MIB)
  t.is(error, 'ERR_HEAP_OUT_OF_MEMORY', 'the limit is what was reserved')
})
