import test from 'ava'
import { Heap } from '../../lib/index.ts'
import { HOST } from '../../lib/lifetime/host.ts'
import { Granule, Page } from '../../lib/memory/page.ts'
import { ObjectState } from '../../lib/tcmalloc/object-state.ts'

const MIB = 2 ** 20

/** A heap in two threads, of which the first has a stale entry: both freed a block of a size, the second one a moment later. */
function freedTwice(size: number, releasedBytes: number): { mine: Heap; theirs: Heap; address: number } {
  const mine = new Heap({ limitBytes: 64 * MIB, leaks: 'off' })
  const theirs = Heap.attach(mine.share(), { leaks: 'off' })
  const { states } = mine[HOST].tiers.tables
  // The first block of a span, where a large block could begin too.
  const addresses = Array.from({ length: 2000 }, () => theirs.malloc(size))
  const address = addresses.find((one, i) => i > 1000 && one % Page.Bytes === 0)!
  mine.free(address)
  states[address / Granule.Bytes] = ObjectState.Live
  for (const one of addresses) theirs.free(one)
  theirs.releaseFreeMemory(releasedBytes)
  return { mine, theirs, address }
}

for (const [past, releasedBytes] of [
  ['', 0],
  [', and came back from the system,', 32 * MIB],
] as const)
  test(`pages that a stale entry names${past} get no other size until that thread has come to it`, (t) => {
    const { mine, theirs, address } = freedTwice(64, releasedBytes)
    const blocks = Array.from({ length: 20_000 }, () => theirs.malloc(16))
    t.false(blocks.includes(address))
    const block = mine.malloc(64)
    t.true(mine.usableSize(block) >= 64)
    mine.free(block)
    mine.releaseFreeMemory(0)
    blocks.push(...Array.from({ length: 20_000 }, () => theirs.malloc(16)))
    t.true(blocks.includes(address), 'the entry is gone')
    for (const one of blocks) theirs.free(one)
    mine.audit()
    theirs.close()
    mine.close()
  })

test('nor do they become a large block', (t) => {
  const { mine, theirs, address } = freedTwice(64, 0)
  const blocks = Array.from({ length: 40 }, () => theirs.malloc(300_000))
  t.false(blocks.some((one) => one <= address && address < one + 300_000))
  for (const one of blocks) mine.free(one)
  t.true(mine.usableSize(mine.malloc(64)) >= 64)
  mine.audit()
  theirs.close()
  mine.close()
})
