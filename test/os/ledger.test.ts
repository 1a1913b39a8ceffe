import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { Heap } from '../../lib/index.ts'
import { collectGarbage } from '../support/garbage.ts'
import { nativeMapper, reserve } from '../support/native-mappers.ts'

const KIB = 1024
const MIB = 2 ** 20

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
  const byAddress = (a: { address: string }, b: { address: string }) => a.address.localeCompare(b.address)
  const ranges = (of: LedgerLine[]) => of.map(({ address, length }) => ({ address, length })).sort(byAddress)
  // About one heap in five is kept by V8 for reasons of its own: then the next one is looked at.
  for (let attempt = 1; ; attempt++) {
    const { reserved, unmapped } = await unmappedBy(t)
    if (unmapped.length < reserved.length && attempt < 6) continue
    t.deepEqual(ranges(unmapped), ranges(reserved))
    return
  }
})

interface LedgerLine {
  call: string
  address: string
  length: number
}

/** What a closed heap’s ledger says that was reserved, and unmapped once V8 had collected the heap. */
async function unmappedBy(t: ExecutionContext): Promise<{ reserved: LedgerLine[]; unmapped: LedgerLine[] }> {
  const file = join(temporaryFolder(t), 'ledger')
  const calls = () => {
    const lines = readFileSync(file, 'utf8').trimEnd().split('\n')
    return lines.map((line) => JSON.parse(line) as LedgerLine)
  }
  const callsOf = (name: string) => calls().filter(({ call }) => call === name)
  ;(() => {
    const heap = new Heap({ ledger: { file } })
    heap.malloc(MIB)
    heap.close()
    const { syscalls } = heap.stats()
    t.deepEqual({ mmap: callsOf('mmap').length, munmap: 0, madvise: callsOf('madvise').length }, syscalls)
  })()
  const reserved = calls().slice(0, 2)
  // V8's own threads let go of the memory, when a busy machine lets them.
  for (let i = 0; i < 15 && callsOf('munmap').length < reserved.length; i++) await collectGarbage()
  return { reserved, unmapped: callsOf('munmap') }
}

test('a ledger file that can’t be written is an error that names it', (t) => {
  const file = join(temporaryFolder(t), 'no such folder', 'ledger')
  t.throws(() => nativeMapper({ file }), {
    code: 'ERR_HEAP_UNSUPPORTED',
    message: /no such folder/,
  })
})

function temporaryFolder(t: ExecutionContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'spanheap-test-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  return folder
}
