import test from 'ava'
import type { BufferPool, Channel, HandleTable, Heap } from '../../lib/index.ts'
import { random } from '../support/churn.ts'
import { chosenPoints, countPoints, die, expect, type Library, loadStrikable, strikeAt } from '../support/strikes.ts'

const MIB = 2 ** 20

let library: Library
test.before(async () => {
  library = await loadStrikable('strike-owners')
})

/** What a step has made; undefined if it was struck before. */
interface Made {
  it?: { close(): void }
  /** Blocks of the program's own: no owner has them. */
  own: Buffer[]
}

interface Case {
  name: string
  debug?: true
  /** Buffers that the program has before. */
  own?: number
  step: (heap: Heap, made: Made) => void
}

const usePool = (pool: BufferPool, count: number) => {
  const buffers = Array.from({ length: count }, () => pool.acquire())
  for (const buffer of buffers.splice(1)) pool.release(buffer)
  pool.trim(count - 2)
  buffers.push(pool.acquire())
  for (const buffer of buffers) pool.release(buffer)
}

const useTable = (table: HandleTable) => {
  const handles = [10, 100, 300_000].map((size) => table.alloc(size))
  table.free(handles.pop()!)
  table.free(handles.pop()!)
  table.alloc(20)
}

const makePool = (heap: Heap, made: Made, size = 100) => {
  const pool = new library.BufferPool({ heap, size, trimMs: 0, leaks: 'off', max: 40 })
  made.it = pool
  return pool
}

const CASES: Case[] = [
  {
    name: 'a pool',
    step: (heap, made) => {
      const pool = makePool(heap, made)
      usePool(pool, 20)
      pool.close()
    },
  },
  {
    name: 'a pool of large buffers, one of them out at its close',
    step: (heap, made) => {
      const pool = makePool(heap, made, 300_000)
      usePool(pool, 3)
      const out = pool.acquire()
      pool.close()
      pool.release(out)
    },
  },
  {
    name: 'a pool that is shared',
    step: (heap, made) => {
      const pool = makePool(heap, made)
      usePool(pool, 3)
      pool.share()
      usePool(pool, 4)
      pool.close()
    },
  },
  {
    name: 'a table of handles',
    step: (heap, made) => {
      const table = heap.handles({ max: 256 })
      made.it = table
      useTable(table)
      table.close()
    },
  },
  {
    name: 'a channel',
    own: 3,
    step: (heap, made) => {
      const channel: Channel = new library.Channel(heap, { capacity: 4 })
      made.it = channel
      for (const buffer of made.own) channel.trySend(buffer)
      channel.close()
    },
  },
  {
    name: 'a pool in debug mode',
    debug: true,
    step: (heap, made) => {
      const pool = makePool(heap, made)
      usePool(pool, 3)
      pool.close()
    },
  },
  {
    name: 'a table of handles in debug mode',
    debug: true,
    step: (heap, made) => {
      const table = heap.handles({ max: 8 })
      made.it = table
      table.free(table.alloc(100))
      table.alloc(20)
      table.close()
    },
  },
]

for (const { name, debug = false, own = 0, step } of CASES) {
  const open = () => {
    const options = { mapper: new library.SimulatedMapper(), leaks: 'off' as const }
    const survivor = new library.Heap({ limitBytes: 32 * MIB, debug, ...options })
    const victim = library.Heap.attach(survivor.share(), options)
    const made: Made = { own: Array.from({ length: own }, () => victim.allocBuffer(100)) }
    return { survivor, victim, made, run: () => step(victim, made) }
  }

  test.serial(`a thread is struck anywhere in the life of ${name} that it alone has: nothing is lost`, (t) => {
    let struck = 0
    const total = countPoints(open().run)
    for (const n of chosenPoints(total, random(5))) {
      for (const dies of [true, false]) {
        const { survivor, victim, made, run } = open()
        try {
          expect(strikeAt(n, run), 'it came to its end')
          struck++
          if (dies) die(victim)
          else {
            made.it?.close()
            victim.close()
          }
          const { liveBytes } = survivor.stats()
          // What wasn't sent is the program's.
          const most = own * 112
          expect(liveBytes <= most && liveBytes % 112 === 0, `${liveBytes} bytes are lost`)
          if (own === 0) expect(liveBytes === 0, `${liveBytes} bytes are lost`)
          survivor.audit()
          expect(survivor.stats().threads === 1, 'a thread is counted')
        } catch (error) {
          t.fail(`point ${n}, ${dies ? 'dead' : 'alive'}: ${error instanceof Error ? error.stack : String(error)}`)
          return
        }
      }
    }
    t.log(`${struck} strikes at ${total} points`)
    t.true(struck > 20)
  })
}
