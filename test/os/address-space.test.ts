import test from 'ava'
import { Heap } from '../../lib/index.ts'
import { LEAST_TABLE_BYTES } from '../../lib/memory/reservation.ts'
import { childScript, reportOf, run, runChild } from '../support/child.ts'

const KIB = 2 ** 10
const GIB = 2 ** 30

const limited = (kilobytes: number, ...args: string[]) =>
  run('sh', [
    '-c',
    `ulimit -v ${kilobytes} && exec "$@"`,
    'sh',
    process.execPath,
    childScript('address-space'),
    ...args,
  ])

/** What leaves a heap so little that its states reach no further than the heap: Node itself takes 1.0 GiB of addresses, from version 24 on 1.4. */
const LEAST_KILOBYTES = Number(process.versions.node.split('.', 1)[0]) < 24 ? 1_600_000 : 1_800_000

for (const kilobytes of new Set([LEAST_KILOBYTES, 1_800_000, 1_900_000, 2_048_000, 4_096_000, 8_192_000, 32_000_000])) {
  test(`of ${kilobytes} KiB of addresses two heaps take a part, and each can be used`, async (t) => {
    const { reserved, taken } = reportOf<{ reserved: number[]; taken: number }>(await limited(kilobytes, 'open', '2'))
    t.is(reserved.length, 2)
    // Node itself takes about 1 GiB. A heap has at most half of what is left then, but no less than the smallest one takes.
    const room = kilobytes * KIB - 0.9 * GIB
    t.true(taken < Math.max(0.8 * room, 2.9 * LEAST_TABLE_BYTES), `${taken} bytes are taken`)
  })
}

test('heaps that are closed without a turn of the event loop use neither the addresses nor the mappings up', async (t) => {
  // 4000 of these heaps would take more than there is: 2^47 bytes.
  const { mostMappings, addresses } = reportOf<{ mostMappings: number; addresses: number }>(
    await runChild('address-space', ['close', '800', String(32 * GIB)])
  )
  t.true(mostMappings < 4000, `${mostMappings} mappings`)
  t.true(addresses < 2 ** 44, `${addresses} bytes`)
})

test('the same where a few of them would take all addresses that there are', async (t) => {
  const { addresses } = reportOf<{ addresses: number }>(await limited(8_192_000, 'close', '200', String(2 ** 20)))
  t.true(addresses < 8_192_000 * KIB)
})

test('the tables of a small heap take no more addresses than are counted on', (t) => {
  const heap = new Heap({ limitBytes: 2 ** 20 })
  t.teardown(() => heap.close())
  t.true(heap.stats().reservedBytes < LEAST_TABLE_BYTES + 4.1 * GIB)
  t.true(heap.stats().reservedBytes - 4 * GIB > LEAST_TABLE_BYTES / 2)
})
