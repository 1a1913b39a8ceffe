import { constants } from 'node:os'
import test from 'ava'
import { Heap } from '../../../lib/heap/heap.ts'
import type { SystemCall } from '../../../lib/os/mapper.ts'
import { SimulatedMapper } from '../../../lib/os/simulated-mapper.ts'
import { repeatsOf } from '../../bench/suites/system-call-times.ts'
import { callsPerMillion, systemCalls } from '../../bench/suites/system-calls.ts'
import { unitMapper } from '../../bench/suites/unit-mapper.ts'
import { callsOf } from '../../bench/suites/watched-calls.ts'

const MIB = 2 ** 20

/** Lengths of the calls that grow a heap's objects to so many bytes, by units of this size. */
function grown(unit: number, bytes: number): number[] {
  const system = new SimulatedMapper()
  const heap = new Heap({ mapper: unitMapper(system, unit), limitBytes: 64 * MIB })
  const before = system.ring().length
  heap.malloc(bytes)
  return system
    .ring()
    .slice(before)
    .filter(({ call, length }) => call === 'mmap' && length === unit)
    .map(({ length }) => length)
}

test('a heap grows by units, smaller and larger than its own', (t) => {
  t.is(grown(65536, MIB).length, 16)
  t.is(grown(16 * MIB, MIB).length, 1)
})

test('what the system refuses, a unit refuses', (t) => {
  const system = new SimulatedMapper()
  const heap = new Heap({ mapper: unitMapper(system, 65536), limitBytes: 64 * MIB })
  system.limitBytes = system.pagesGrown * system.systemPageSize + MIB
  const error = t.throws(() => heap.malloc(8 * MIB)) as NodeJS.ErrnoException
  t.is(error.code, 'ERR_HEAP_OUT_OF_MEMORY')
  t.is(error.errno, constants.errno.ENOMEM)
  heap.audit()
})

test('calls of the heap are told from others by order and place', (t) => {
  const of = (call: SystemCall['call'], address: number, length: number) => ({ call, address, length, ns: 0 })
  const ledger = [of('mmap', 0x10000, 0x10000), of('mmap', 0x11000, 0x1000), of('munmap', 0x10000, 0x10000)]
  const traced = ledger.map(({ call, address, length }) => ({ call, address: `0x${address.toString(16)}`, length }))
  const others = { call: 'mmap' as const, address: '0x10000', length: 0x1000 }
  t.is(callsOf(ledger, traced), 3)
  t.is(callsOf(ledger, [others, ...traced, others]), 3, "before and after, the place is anybody else's")
  t.is(callsOf(ledger, traced.toSpliced(1, 0, others)), 4, 'a call in the middle that the ledger lacks')
  t.is(callsOf(ledger, traced.toSpliced(1, 1)), 2, 'one that the ledger made up')
})

test('a part of a million allocations is carried on as its second half', (t) => {
  t.is(callsPerMillion(14, 14, 1000), 14)
  t.is(callsPerMillion(1_000_000, 500_000, 500_000), 2_000_000)
  t.is(callsPerMillion(30, 20, 1_000_000), 30)
})

test('much is mapped a few times, little often', (t) => {
  t.deepEqual([4096, MIB, 64 * MIB].map(repeatsOf), [200, 4, 1])
})

test('each kind of process measures something', async (t) => {
  const [times] = await systemCalls.measure({ kind: 'times', sizes: [65536] })
  for (const [name, ns] of Object.entries(times!.values)) t.true(ns! > 0, name)
  const [unit] = await systemCalls.measure({ kind: 'unit', unit: 65536, blocks: 10_000 })
  t.true(unit!.values.allocation! > 0)
  const [churn] = await systemCalls.measure({ kind: 'churn', heap: 'direct', allocations: 1500 })
  const { perMillion, inLedger, seen } = churn!.values
  t.true(perMillion! > 1_000_000)
  if (seen !== null) t.is<number | null | undefined, number | null | undefined>(seen, inLedger)
})
