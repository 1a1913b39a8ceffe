import test from 'ava'
import { AllocatorError, Heap } from '../../lib/index.ts'
import { random } from '../support/churn.ts'

/** Random operations; a long run by hand sets 100 million. */
const OPERATIONS = Number(process.env.SPANHEAP_HANDLE_OPERATIONS ?? 300_000)
const MOST_LIVE = 2000
const STALE = 4096

function codeOf(call: () => unknown): string {
  try {
    call()
  } catch (error) {
    if (error instanceof AllocatorError) return error.code
    throw error
  }
  return 'none'
}

test('random operations: every handle resolves to its own block, and every stale one is caught', (t) => {
  t.timeout(24 * 60 * 60 * 1000)
  const heap = new Heap({ limitBytes: 512 * 2 ** 20 })
  const table = heap.handles()
  const next = random(7)
  const live: number[] = []
  const stamps: number[] = []
  // The latest that were freed, and some that stay for good.
  const stale = new Float64Array(STALE)
  let staleCount = 0
  let caught = 0
  let missed = 0
  const words = new Int32Array(heap.buffer)
  for (let i = 0; i < OPERATIONS; i++) {
    const what = next() % 8
    if (live.length === 0 || (what < 3 && live.length < MOST_LIVE)) {
      const size = 4 + (next() % 200)
      const handle = table.alloc(size)
      words[table.address(handle) / 4] = i
      live.push(handle)
      stamps.push(i)
    } else if (what < 6) {
      const at = next() % live.length
      const handle = live[at]!
      if (words[table.address(handle) / 4] !== stamps[at]) t.fail(`handle ${handle} has another's block`)
      table.free(handle)
      live[at] = live.at(-1)!
      stamps[at] = stamps.at(-1)!
      live.pop()
      stamps.pop()
      // Half of the places are written once: those handles become older and older.
      const place = staleCount < STALE ? staleCount : (next() % STALE) >>> 1
      stale[place] = handle
      staleCount++
    } else if (staleCount > 0) {
      const handle = stale[next() % Math.min(staleCount, STALE)]!
      const code = codeOf(what === 6 ? () => table.address(handle) : () => table.free(handle))
      if (code === 'ERR_HEAP_STALE_HANDLE' && !table.isLive(handle)) caught++
      else missed++
    }
  }
  t.log(`${OPERATIONS} operations, ${caught} stale handles caught, ${missed} missed`)
  t.is(missed, 0)
  t.true(caught > OPERATIONS / 8)
  t.is(table.count(), live.length)
  heap.audit()
  for (const [at, handle] of live.entries()) {
    t.is(new Int32Array(heap.buffer, table.address(handle), 1)[0], stamps[at]!)
    table.free(handle)
  }
  table.close()
  t.is(heap.stats().liveBytes, 0)
  heap.audit()
  heap.close()
})
