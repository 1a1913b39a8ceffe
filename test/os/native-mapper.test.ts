import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import test, { type ExecutionContext } from 'ava'
import { Heap, type Mapping } from '../../lib/index.ts'
import { isAddon, loadAddon } from '../../lib/os/addon.ts'
import { type LedgerOptions, NativeMapper } from '../../lib/os/native-mapper.ts'
import type { HalvingReport } from '../children/halving.ts'
import { childScript, reportOf, run } from '../support/child.ts'
import { collectGarbage } from '../support/garbage.ts'

const KIB = 1024
const MIB = 2 ** 20
const ALIGNMENT = 64 * MIB
const FREE = 0
const LIVE = 1
const DEAD = 2

function nativeMapper(ledger: LedgerOptions = {}): NativeMapper {
  const addon = loadAddon()
  if (!isAddon(addon)) throw new Error(`these tests need the addon: ${addon.reason}`)
  return new NativeMapper(addon, ledger)
}

function reserve(mapper: NativeMapper, byteLength: number, hugePages = true): Mapping {
  const mapping = mapper.reserve({ byteLength, shared: true, alignment: ALIGNMENT, hugePages })
  if (typeof mapping === 'number') throw new Error(`the reservation was refused: ${mapping}`)
  return mapping
}

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

test('the ring keeps the newest calls, oldest first, with addresses, lengths and times', (t) => {
  const mapper = nativeMapper({ ring: 3 })
  const mapping = reserve(mapper, 16 * MIB)
  for (let i = 1; i <= 5; i++) t.is(mapping.grow(i * MIB, i * 64 * KIB), 0)
  t.is(mapping.release(5 * MIB, 64 * KIB), 0)
  const ring = mapper.ring()
  t.deepEqual(
    ring.map(({ call, length }) => [call, length]),
    [
      ['mmap', 4 * 64 * KIB],
      ['mmap', 5 * 64 * KIB],
      ['madvise', 64 * KIB],
    ]
  )
  t.is(ring[1]!.address - ring[0]!.address, MIB)
  t.is(ring[2]!.address, ring[1]!.address)
  for (const { ns, errno } of ring) {
    t.true(Number.isInteger(ns) && ns > 0)
    t.is(errno, undefined)
  }
  t.deepEqual(nativeMapper().ring(), [])
})

test('the ledger file has a line of JSON for every call, also for one that failed', (t) => {
  const file = join(temporaryFolder(t), 'ledger')
  const mapper = nativeMapper({ file, ring: 10 })
  const mapping = reserve(mapper, MIB)
  t.is(mapping.grow(0, 64 * KIB), 0)
  t.is(mapping.release(0, 64 * KIB), 0)
  t.is(typeof mapper.reserve({ byteLength: 2 ** 50, shared: true, alignment: 4096, hugePages: true }), 'number')
  mapper.flush()
  const text = readFileSync(file, 'utf8')
  t.true(text.endsWith('\n'))
  const lines = text.trimEnd().split('\n')
  for (const line of lines) {
    t.regex(line, /^\{"call":"(mmap|munmap|madvise)","address":"0x[0-9a-f]+","length":\d+,"ns":\d+(,"errno":\d+)?\}$/)
  }
  const entries = lines.map((line) => JSON.parse(line) as { address: string; errno?: number })
  t.deepEqual(
    entries.map((entry) => ({ ...entry, address: Number(entry.address) })),
    mapper.ring()
  )
  t.is(entries.filter(({ errno }) => errno === undefined).length, 3)
  t.true(entries.length > 3)
})

test('a heap’s ledger file is complete when it is closed, and then has what unmaps the addresses', async (t) => {
  const file = join(temporaryFolder(t), 'ledger')
  const calls = () => {
    const lines = readFileSync(file, 'utf8').trimEnd().split('\n')
    return lines.map((line) => JSON.parse(line) as { call: string; address: string; length: number })
  }
  const countOf = (name: string) => calls().filter(({ call }) => call === name).length
  ;(() => {
    const heap = new Heap({ ledger: { file } })
    heap.malloc(MIB)
    heap.close()
    const { syscalls } = heap.stats()
    t.deepEqual({ mmap: countOf('mmap'), munmap: 0, madvise: countOf('madvise') }, syscalls)
  })()
  const reserved = calls().slice(0, 2)
  // V8's own threads let go of the memory, when a busy machine lets them.
  for (let i = 0; i < 50 && countOf('munmap') < reserved.length; i++) await collectGarbage()
  const unmapped = calls().filter(({ call }) => call === 'munmap')
  const byAddress = (a: { address: string }, b: { address: string }) => a.address.localeCompare(b.address)
  const ranges = (of: typeof reserved) => of.map(({ address, length }) => ({ address, length })).sort(byAddress)
  t.deepEqual(ranges(unmapped), ranges(reserved))
})

test('a ledger file that can’t be written is an error that names it', (t) => {
  const file = join(temporaryFolder(t), 'no such folder', 'ledger')
  t.throws(() => nativeMapper({ file }), {
    code: 'ERR_HEAP_UNSUPPORTED',
    message: /no such folder/,
  })
})

test('slots are claimed in order, given back by their owner only, and refused when all are taken', (t) => {
  const mapping = reserve(nativeMapper(), MIB)
  t.is(mapping.grow(0, 64 * KIB), 0)
  const words = new Int32Array(mapping.buffer, 128 + 4, 3)
  const states = () => [...words].map((word) => word & 3)
  t.deepEqual(
    [0, 1, 2, 3].map(() => mapping.claimSlot(128, 3)),
    [0, 1, 2, -1]
  )
  t.deepEqual(states(), [LIVE, LIVE, LIVE])
  const claims = words[1]! >>> 2
  mapping.freeSlot(128, 1)
  t.deepEqual(states(), [LIVE, FREE, LIVE])
  t.is(mapping.claimSlot(128, 3), 1)
  t.is(words[1]! >>> 2, claims + 1, 'a new owner can be told from an earlier one')
  mapping.freeSlot(128, 0)
  words[0] = LIVE // as if another thread had claimed it
  mapping.freeSlot(128, 0)
  t.deepEqual(states(), [LIVE, LIVE, LIVE])
  for (const index of [1, 2]) mapping.freeSlot(128, index)
  t.deepEqual(states(), [LIVE, FREE, FREE])
})

test('the slot of a worker that ends, or is terminated, is marked dead before anybody hears of it', async (t) => {
  for (const terminate of [false, true]) {
    const worker = new Worker(childScript('claim-slot'), { workerData: { wait: terminate } })
    const buffer = await new Promise<SharedArrayBuffer>((resolve, reject) => {
      worker.once('message', resolve).once('error', reject)
    })
    const words = new Int32Array(buffer, 4, 2)
    const states = () => [...words].map((word) => word & 3)
    if (terminate) {
      t.deepEqual(states(), [LIVE, FREE])
      await worker.terminate()
    } else {
      await new Promise((resolve) => worker.once('exit', resolve))
    }
    t.deepEqual(states(), [DEAD, FREE])
  }
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

function temporaryFolder(t: ExecutionContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'spanheap-test-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  return folder
}
