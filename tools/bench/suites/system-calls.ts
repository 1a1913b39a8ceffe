import { Heap } from 'spanheap'
import { openMapper } from 'spanheap/testing'
import type { Configuration, MeasuredRow, Medians, Scale, Suite, Verdict } from '../framework/suite.ts'
import { HEAPS, type HeapName } from './churn.ts'
import { CallTimer } from './system-call-times.ts'
import { unitMapper } from './unit-mapper.ts'
import { watchedChurn } from './watched-calls.ts'

const [KIB, MIB] = [2 ** 10, 2 ** 20]
/** Bytes of a call. */
const SIZES: Readonly<Record<Scale, readonly number[]>> = {
  full: [4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, MIB, 4 * MIB, 16 * MIB, 64 * MIB],
  quick: [4 * KIB, 64 * KIB, MIB],
}
/** Bytes that a heap asks the system for at a time. */
const UNITS: Readonly<Record<Scale, readonly number[]>> = {
  full: [8 * KIB, 64 * KIB, 256 * KIB, MIB, 8 * MIB, 64 * MIB],
  quick: [],
}
/** Of what is slow a part of a million; what comes after the second half is as that half. */
const ALLOCATIONS: Readonly<Record<Scale, Readonly<Partial<Record<HeapName, number>>>>> = {
  full: { direct: 5000, freelist: 100_000, go: 1_000_000, tcmalloc: 1_000_000 },
  quick: { tcmalloc: 100_000 },
}
const MILLION = 1_000_000
const CHURN_ROW = 'a million allocations'

/** With units: blocks of 64 bytes, none of which is freed. */
const BLOCK_BYTES = 64
const BLOCKS = 400_000
const WARM_UP_BLOCKS = 200_000
/** Blocks of one call: entered often, so that V8 compiles it whole. */
const CHUNK = 1000

export type SystemCallsParameters =
  | { readonly kind: 'times'; readonly sizes: readonly number[] }
  | { readonly kind: 'unit'; readonly unit: number; readonly blocks: number }
  | { readonly kind: 'churn'; readonly heap: HeapName; readonly allocations: number }

/** Nanoseconds for each block of a heap that grows by so much at a time. */
function growBy(unit: number, blocks: number): MeasuredRow {
  using heap = new Heap({ mapper: unitMapper(openMapper({}), unit) })
  const bytes = new Int8Array(heap.buffer, 0, 2 ** 30)
  const allocate = () => {
    for (let i = 0; i < CHUNK; i++) heap.malloc(BLOCK_BYTES)
  }
  const allocateAndWrite = () => {
    for (let i = 0; i < CHUNK; i++) bytes[heap.malloc(BLOCK_BYTES)] = 1
  }
  const nsPerBlock = (chunk: () => void) => {
    for (let made = 0; made < WARM_UP_BLOCKS; made += CHUNK) chunk()
    const start = process.hrtime.bigint()
    for (let made = 0; made < blocks; made += CHUNK) chunk()
    return Number(process.hrtime.bigint() - start) / blocks
  }
  return { row: unit, values: { allocation: nsPerBlock(allocate), writtenAllocation: nsPerBlock(allocateAndWrite) } }
}

/** What a million allocations come to, by what so many did, and half of them. */
export function callsPerMillion(calls: number, atHalf: number, allocations: number): number {
  return calls + ((calls - atHalf) * (MILLION - allocations)) / (allocations / 2)
}

async function measure(parameters: SystemCallsParameters): Promise<MeasuredRow[]> {
  switch (parameters.kind) {
    case 'times': {
      const timer = new CallTimer()
      return parameters.sizes.map((size) => ({ row: size, values: timer.times(size) }))
    }
    case 'unit':
      return [growBy(parameters.unit, parameters.blocks)]
    case 'churn': {
      const { heap, allocations } = parameters
      const { calls, atHalf, seen } = await watchedChurn(heap, allocations)
      const perMillion = callsPerMillion(calls.length, atHalf, allocations)
      return [{ row: CHURN_ROW, values: { perMillion, inLedger: calls.length, seen } }]
    }
  }
}

/** Heap by heap, what the ledger and strace don't agree in. */
function verdicts(medians: Medians): Verdict[] {
  const found = Object.keys(HEAPS).flatMap((heap) => {
    const [inLedger, seen] = ['inLedger', 'seen'].map((metric) => medians.of(CHURN_ROW, heap, metric))
    return inLedger === undefined || seen === undefined ? [] : [{ heap, inLedger, seen }]
  })
  if (found.length === 0) return []
  return [
    {
      claim: 'the ledger has each system call that strace sees a heap make, and no other',
      value: Math.max(...found.map(({ inLedger, seen }) => Math.abs(inLedger - seen))),
      bar: { most: 0 },
      detail: found.map(({ heap, inLedger, seen }) => `${heap}: ${inLedger} in the ledger, ${seen} seen`).join('; '),
    },
  ]
}

export const systemCalls: Suite<SystemCallsParameters> = {
  name: 'system-calls',
  title: 'System calls',
  question:
    'What does the system take for memory, beside a malloc that has it already? How much should a heap ask for at a time, and how often does each heap ask?',
  metrics: [
    { name: 'mmap', title: 'mmap', unit: 'ns', better: 'less' },
    { name: 'munmap', title: 'munmap, its pages touched', unit: 'ns', better: 'less' },
    { name: 'madvise', title: 'madvise(MADV_DONTNEED), its pages touched', unit: 'ns', better: 'less' },
    { name: 'fault', title: 'the first touch of a page', unit: 'ns', better: 'less' },
    { name: 'mapAndUnmap', title: 'mmap and munmap, untouched, as the caller sees them', unit: 'ns', better: 'less' },
    { name: 'mallocAndFree', title: 'malloc and free', unit: 'ns', better: 'less' },
    { name: 'allocation', title: 'a malloc of 64 bytes, by what the heap grows by', unit: 'ns', better: 'less' },
    { name: 'writtenAllocation', title: 'the same, and written to', unit: 'ns', better: 'less' },
    { name: 'perMillion', title: 'system calls of a million allocations', unit: 'count', better: 'less' },
    { name: 'inLedger', title: 'system calls in the ledger of a shorter run', unit: 'count', better: 'less' },
    { name: 'seen', title: 'what strace saw of it', unit: 'count', better: 'less' },
  ],
  charts: [
    { kind: 'lines', metric: 'mmap', title: 'mmap', x: 'bytes', logarithmic: 'both' },
    { kind: 'lines', metric: 'munmap', title: 'munmap', x: 'bytes', logarithmic: 'both' },
    { kind: 'lines', metric: 'madvise', title: 'madvise', x: 'bytes', logarithmic: 'both' },
    { kind: 'lines', metric: 'mapAndUnmap', title: 'mmap and munmap', x: 'bytes', logarithmic: 'both' },
    { kind: 'lines', metric: 'mallocAndFree', title: 'malloc and free', x: 'bytes', logarithmic: 'both' },
    { kind: 'lines', metric: 'allocation', title: 'A malloc, by the unit of growth', x: 'bytes', logarithmic: 'x' },
    { kind: 'bars', metric: 'perMillion', title: 'System calls of a million allocations', logarithmic: true },
  ],
  configurations({ scale, peers }) {
    const sizes = SIZES[scale]
    const own = (contender: string, parameters: SystemCallsParameters): Configuration => ({
      contender,
      process: { kind: 'own', parameters },
    })
    const natives = peers
      .filter(({ name }) => name === 'glibc')
      .map(
        (peer): Configuration => ({
          contender: peer.name,
          process: { kind: 'native', program: 'syscalls', arguments: sizes.map(String), peer },
        })
      )
    return [
      own('spanheap', { kind: 'times', sizes }),
      ...natives,
      ...UNITS[scale].map((unit) => own('spanheap', { kind: 'unit', unit, blocks: BLOCKS })),
      ...(Object.keys(HEAPS) as HeapName[]).flatMap((heap) => {
        const allocations = ALLOCATIONS[scale][heap]
        return allocations === undefined ? [] : own(heap, { kind: 'churn', heap, allocations })
      }),
    ]
  },
  measure,
  verdicts,
}
