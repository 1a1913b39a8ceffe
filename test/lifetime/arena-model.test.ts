import test from 'ava'
import fc from 'fast-check'
import { type Arena, Heap } from '../../lib/index.ts'

interface Modelled {
  arena: Arena
  children: Modelled[]
  /** Its allocations, the oldest first, and marks with how many there were. */
  live: { address: number; size: number; stamp: number }[]
  marks: { mark: number; count: number }[]
}

const operation = fc.record({
  what: fc.integer({ min: 0, max: 19 }),
  which: fc.nat(),
  size: fc.oneof(fc.nat(200), fc.nat(200), fc.nat(200_000)),
  align: fc.integer({ min: 0, max: 12 }),
})

test('random operations on a tree of arenas: what is allocated keeps its bytes and overlaps nothing', (t) => {
  const heap = new Heap({ limitBytes: 2 ** 30 })
  const bytes = new Uint8Array(heap.buffer)
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 120 }), (operations) => {
      const roots: Modelled[] = []
      const all = (of: Modelled[]): Modelled[] => of.flatMap((one) => [one, ...all(one.children)])
      const fresh = (arena: Arena): Modelled => ({ arena, children: [], live: [], marks: [] })
      let stamp = 0
      for (const { what, which, size, align } of operations) {
        const arenas = all(roots)
        const one = arenas[which % arenas.length]
        if (one === undefined || what === 0) roots.push(fresh(heap.arena()))
        else if (what === 1) one.children.push(fresh(one.arena.arena()))
        else if (what === 2) {
          one.arena.dispose()
          const ended = all([one])
          for (const { arena } of ended) t.throws(() => arena.malloc(1), { code: 'ERR_HEAP_STALE_HANDLE' })
          for (const siblings of [roots, ...arenas.map(({ children }) => children)]) {
            if (siblings.includes(one)) siblings.splice(siblings.indexOf(one), 1)
          }
        } else if (what === 3) one.marks.push({ mark: one.arena.mark(), count: one.live.length })
        else if (what === 4) {
          const at = which % (one.marks.length + 1)
          const { mark, count } = one.marks[at] ?? { mark: one.arena.mark(), count: one.live.length }
          one.arena.rewind(mark)
          one.live.length = count
          one.marks.length = Math.min(one.marks.length, at + 1)
        } else {
          stamp = (stamp % 255) + 1
          const address = what < 8 ? one.arena.malloc(size, 2 ** align) : one.arena.malloc(size)
          if (address % Math.max(16, what < 8 ? 2 ** align : 16) !== 0) throw new Error(`${address} isn't aligned`)
          bytes.fill(stamp, address, address + size)
          one.live.push({ address, size, stamp })
        }
      }
      for (const { live } of all(roots))
        for (const block of live)
          for (let at = block.address; at < block.address + block.size; at++)
            if (bytes[at] !== block.stamp) throw new Error(`byte ${at} has changed`)
      heap.audit()
      for (const { arena } of roots) arena.dispose()
      if (heap.stats().liveBytes !== 0) throw new Error(`${heap.stats().liveBytes} bytes are live`)
    }),
    { numRuns: 150 }
  )
  heap.audit()
  t.pass()
})
