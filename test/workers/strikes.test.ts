import test from 'ava'
import type { Channel, HandleTable, Heap, PassedBlock } from '../../lib/index.ts'
import { ObjectState } from '../../lib/tcmalloc/object-state.ts'
import { random } from '../support/churn.ts'
import { leaveLongSpans } from '../support/long-spans.ts'
import {
  chosenPoints,
  countPoints,
  die,
  dieAllBut,
  expect,
  insidesOf,
  type Library,
  loadStrikable,
  strikeAt,
} from '../support/strikes.ts'

const MIB = 2 ** 20
interface Case {
  name: string
  limitBytes?: number
  cacheBytes?: number
  debug?: boolean
  prepare?: (heap: Heap) => number[]
  step: (heap: Heap, blocks: number[]) => unknown
  /** The live bytes may be more, or fewer, by so many after it. */
  most?: number
  least?: number
  /** The live bytes may be more by so many if the thread dies; without it, as `most`. */
  mostOfDead?: number
  /** The same for fewer. */
  leastOfDead?: number
  /** Over memory of the system's, which a simulated one can't stand for. */
  native?: true
  /** What must be live after it, exactly. */
  live?: (heap: Heap) => number
}

/** The usable bytes of some sizes, and of none. */
const USABLE: Readonly<Record<number, number>> = { 0: 0, 100: 112, 5000: 5120, 300000: 303_104 }

const many = (heap: Heap, count: number, size: number) => Array.from({ length: count }, () => heap.malloc(size))

const freeAll = (heap: Heap, blocks: readonly number[]) => blocks.map((address) => heap.free(address))

/** Lets the span cache keep a span of each size: one that was freed of it before isn't. */
function keepLengths(heap: Heap, sizes: readonly number[]): void {
  for (const size of sizes) for (let i = 0; i < 2; i++) heap.free(heap.malloc(size))
}

/** What the cases of handles and of isolated buffers have prepared. */
const tables = new WeakMap<Heap, HandleTable>()
const isolated = new WeakMap<Heap, Buffer[]>()

const CASES: Case[] = [
  { name: 'malloc that grows the heap', step: (heap) => heap.malloc(100), most: 112 },
  {
    name: 'malloc from the transfer cache',
    prepare: (heap) => {
      for (const address of many(heap, 400, 64)) heap.free(address)
      heap.threadIdle()
      return []
    },
    step: (heap) => heap.malloc(64),
    most: 64,
  },
  {
    name: 'malloc that takes what is left of a span',
    prepare: (heap) => many(heap, 100, 64),
    step: (heap) => many(heap, 20, 64),
    most: 20 * 64,
  },
  {
    name: 'free into a full stack',
    prepare: (heap) => many(heap, 100, 64),
    step: freeAll,
    least: 100 * 64,
  },
  {
    name: 'free of a whole span',
    cacheBytes: 0,
    prepare: (heap) => many(heap, 140, 128),
    step: (heap, blocks) => freeAll(heap, blocks.slice(0, 130)),
    least: 130 * 128,
  },
  { name: 'large malloc', step: (heap) => heap.malloc(3 * MIB), most: 3 * MIB },
  {
    name: 'large free between free spans',
    prepare: (heap) => {
      const blocks = many(heap, 5, 300_000)
      heap.free(blocks[1]!)
      heap.free(blocks[3]!)
      return blocks
    },
    step: (heap, blocks) => heap.free(blocks[2]!),
    least: 303_104,
  },
  {
    name: 'large realloc in place',
    prepare: (heap) => {
      const blocks = many(heap, 3, 300_000)
      heap.free(blocks[1]!)
      return blocks
    },
    step: (heap, blocks) => {
      heap.realloc(blocks[0]!, 500_000)
      heap.realloc(blocks[0]!, 270_000)
    },
    most: 500_000,
    least: 40_000,
  },
  {
    name: 'realloc that moves',
    prepare: (heap) => many(heap, 1, 100),
    step: (heap, blocks) => heap.realloc(blocks[0]!, 5000),
    most: 5120,
    least: 112,
  },
  { name: 'alignedAlloc', step: (heap) => heap.alignedAlloc(4096, 300_000), most: 303_104 },
  {
    name: 'alignedAlloc from the middle of a long free span',
    native: true,
    prepare: leaveLongSpans,
    step: (heap) => heap.alignedAlloc(MIB, MIB + 8192),
    most: MIB + 8192,
  },
  {
    name: 'large malloc and free among long free spans',
    prepare: leaveLongSpans,
    step: (heap) => freeAll(heap, [heap.malloc(1_700_000), heap.malloc(1_900_000)]),
    most: 3.5 * MIB,
  },
  { name: 'calloc', step: (heap) => heap.calloc(1, 400_000), most: 401_408 },
  {
    name: 'threadIdle',
    prepare: (heap) => {
      for (const size of [64, 1000, 30_000]) for (const address of many(heap, 50, size)) heap.free(address)
      return []
    },
    step: (heap) => heap.threadIdle(),
  },
  {
    name: 'releaseFreeMemory',
    prepare: (heap) => {
      const blocks = many(heap, 50, 100_000)
      for (const address of blocks.filter((_, index) => index % 3 > 0)) heap.free(address)
      return []
    },
    step: (heap) => heap.releaseFreeMemory(),
  },
  {
    name: 'large malloc and free in pairs, kept',
    prepare: (heap) => {
      keepLengths(heap, [MIB, 500_000])
      return many(heap, 1, 500_000)
    },
    step: (heap, blocks) => {
      for (const size of [MIB, 500_000]) heap.free(heap.malloc(size))
      heap.free(blocks[0]!)
      heap.calloc(1, 500_000)
    },
    most: MIB + 507_904,
    least: 507_904,
  },
  {
    name: 'large free into a span cache that has no room or is full',
    prepare: (heap) => {
      const sizes = [MIB, 300_000, 500_000, 800_000]
      for (const size of sizes) heap.free(heap.malloc(size))
      return [...sizes, ...sizes].map((size) => heap.malloc(size))
    },
    step: freeAll,
    least: 6 * MIB,
  },
  {
    name: 'large realloc over a kept span',
    prepare: (heap) => {
      keepLengths(heap, [300_000])
      const [block, next] = many(heap, 2, 300_000)
      heap.free(next!)
      return [block!]
    },
    step: (heap, blocks) => heap.realloc(blocks[0]!, 600_000),
    most: 606_208,
    least: 303_104,
  },
  {
    name: 'threadIdle with kept spans',
    prepare: (heap) => {
      keepLengths(heap, [MIB, 300_000, 500_000])
      return []
    },
    step: (heap) => heap.threadIdle(),
  },
  {
    name: 'releaseFreeMemory with kept spans',
    prepare: (heap) => {
      keepLengths(heap, [MIB, 300_000, 500_000])
      return []
    },
    step: (heap) => heap.releaseFreeMemory(),
  },
  {
    name: 'an arena and an arena of it',
    step: (heap) => {
      const arena = heap.arena({ owner: 'worker' })
      arena.malloc(100)
      const mark = arena.mark()
      arena.malloc(100_000)
      arena.arena().malloc(50_000)
      arena.rewind(mark)
      arena.dispose()
      heap.stats()
    },
    // If the thread lives on, all of the arena does; and a chunk that was on its way.
    most: 6 * 65_536,
    mostOfDead: 0,
  },
  {
    name: 'a table of handles',
    prepare: (heap) => {
      tables.set(heap, heap.handles({ max: 256 }))
      return [tables.get(heap)!.alloc(100)]
    },
    step: (heap, [handle]) => {
      const table = tables.get(heap)!
      for (const other of [100, 200, 300].map((size) => table.alloc(size))) table.free(other)
      table.free(handle!)
    },
    most: 5000,
    least: 112,
    // The table goes, since nobody else has it open.
    mostOfDead: 0,
    leastOfDead: 112 + 4096 + 1280,
  },
  {
    name: 'isolated buffers',
    native: true,
    prepare: (heap) => {
      const sizes = [100, 100, 5000, 300_000, 100, 300_000]
      isolated.set(
        heap,
        sizes.map((size) => heap.allocBuffer(size, { isolated: true }))
      )
      return []
    },
    step: (heap) => {
      for (const buffer of isolated.get(heap)!) heap.freeBuffer(buffer)
    },
    least: 2 * 303_104 + 5120 + 3 * 112,
    // What was detached is free, or else lost.
    live: (heap) => isolated.get(heap)!.reduce((bytes, { length }) => bytes + USABLE[length]!, 0),
  },
  { name: 'stats', prepare: (heap) => many(heap, 50, 64), step: (heap) => heap.stats() },
  { name: 'audit', prepare: (heap) => many(heap, 50, 64), step: (heap) => heap.audit() },
  {
    name: 'close',
    prepare: (heap) => {
      for (const address of many(heap, 50, 1000)) heap.free(address)
      keepLengths(heap, [MIB, 300_000])
      return []
    },
    step: (heap) => heap.close(),
  },
  { name: 'debug: malloc and calloc', debug: true, step: (heap) => [heap.malloc(100), heap.calloc(1, 50)], most: 240 },
  {
    name: 'debug: frees into a quarantine that has room',
    debug: true,
    prepare: (heap) => many(heap, 3, 100),
    step: freeAll,
    least: 3 * 128,
  },
  {
    name: 'debug: frees that drive others out of quarantine',
    debug: true,
    prepare: (heap) => {
      insidesOf(heap).quarantine!.mostBytes = 2000
      freeAll(heap, many(heap, 14, 100))
      return many(heap, 3, 100)
    },
    step: freeAll,
    least: 3 * 128,
  },
  {
    name: 'debug: frees of large blocks, in quarantine and too long for it',
    debug: true,
    prepare: (heap) => {
      insidesOf(heap).quarantine!.mostBytes = 400_000
      const blocks = [300_000, 300_000, 500_000].map((size) => heap.malloc(size))
      heap.free(heap.malloc(300_000))
      return blocks
    },
    step: freeAll,
    least: 1_200_000,
  },
  {
    name: 'debug: realloc',
    debug: true,
    prepare: (heap) => many(heap, 1, 100),
    step: (heap, [block]) => heap.realloc(block!, 300),
    most: 352,
    least: 128,
  },
  {
    name: 'debug: malloc that empties the quarantine',
    debug: true,
    limitBytes: 2 * MIB,
    prepare: (heap) => {
      const blocks = many(heap, 6, 300_000)
      freeAll(heap, blocks.slice(2))
      return blocks.slice(0, 2)
    },
    step: (heap) => heap.malloc(700_000),
    most: MIB,
  },
  {
    name: 'debug: stats and audit',
    debug: true,
    prepare: (heap) => many(heap, 5, 64),
    step: (heap) => [heap.stats(), heap.audit()],
  },
]

let library: Library
test.before(async () => {
  library = await loadStrikable('strike')
})

/** Uses every tier, and looks at everything. */
function inspect(heap: Heap, before: number, { most = 0, least = 0 }: Case, usesOfMost: number): void {
  const { member, classes, quarantine } = insidesOf(heap)
  // Every word that debug mode looks at is a point where it might be struck.
  const [sizes, count] =
    quarantine === undefined ? [[16, 64, 100, 128, 1000, 5000, 30_000, 300_000], 40] : [[16, 100, 1000, 30_000], 4]
  for (const size of sizes) for (const address of many(heap, count, size)) heap.free(address)
  heap.audit()
  const { liveBytes } = heap.stats()
  if (liveBytes > before + most * usesOfMost || liveBytes < before - least)
    throw new Error(`${liveBytes} bytes are live, ${before} were`)
  if (quarantine !== undefined && quarantine.locks.owner(0) !== 0) throw new Error('the quarantine is held')
  for (let lock = 0; lock < classes.count + 3; lock++) {
    if (member.locks.owner(lock) !== 0) throw new Error(`lock ${lock} is held`)
  }
}

/** A heap that will be struck, and what its step is given. */
function openVictim({ limitBytes = 32 * MIB, cacheBytes = 4 * MIB, debug = false, prepare, native }: Case) {
  const system = native ? {} : { mapper: new library.SimulatedMapper() }
  const victim = new library.Heap({ limitBytes, ...system, cacheBytes, debug })
  const survivor = library.Heap.attach(victim.share(), system)
  return { system, victim, survivor, blocks: prepare?.(victim) ?? [] }
}

/** How many points there are in a step at which it may be struck. */
function pointsOf(one: Case): number {
  const { victim, blocks } = openVictim(one)
  return countPoints(() => one.step(victim, blocks))
}

for (const one of CASES) {
  test.serial(`a thread is struck anywhere in ${one.name}: others, or it itself, go on`, (t) => {
    const next = random(5)
    const total = pointsOf(one)
    let struck = 0
    for (const n of chosenPoints(total, next)) {
      for (const dies of [true, false]) {
        const { system, victim, survivor, blocks } = openVictim(one)
        const before = survivor.stats().liveBytes
        try {
          if (!strikeAt(n, () => one.step(victim, blocks))) throw new Error('it came to its end')
          struck++
          if (dies) {
            die(victim)
            // One in four repairers is struck in turn.
            if (n % 4 === 3) {
              // It clears up while it attaches, and more when it looks.
              const second = () => library.Heap.attach(survivor.share(), system).stats()
              strikeAt(next() % 1500, second)
              dieAllBut(survivor)
            }
          } else if (one.name === 'close') {
            // It goes on where it was struck, and the second close after that has nothing left to do.
            victim.close()
            victim.close()
          } else {
            // Of the thread's Heap objects either may be the first to go on.
            if (n % 2 === 1) inspect(survivor, before, one, 2)
            inspect(victim, before, one, 2)
          }
          const { most = 0, mostOfDead = most, least = 0, leastOfDead = least } = one
          inspect(survivor, before, dies ? { ...one, most: mostOfDead, least: leastOfDead } : one, 2)
          const { liveBytes } = survivor.stats()
          const expected = one.live?.(victim) ?? liveBytes
          if (liveBytes !== expected) throw new Error(`${liveBytes} bytes are live, not ${expected}`)
          if (dies || one.name === 'close') {
            const { threads, threadCacheBytes } = survivor.stats()
            if (threads !== 1) throw new Error(`${threads} threads are counted`)
            survivor.threadIdle()
            if (survivor.stats().threadCacheBytes !== 0) throw new Error(`${threadCacheBytes} bytes stay cached`)
          }
        } catch (error) {
          t.fail(`point ${n}, ${dies ? 'dead' : 'alive'}: ${error instanceof Error ? error.stack : String(error)}`)
          return
        }
      }
    }
    t.log(`${struck} strikes at ${total} points`)
    t.true(struck > 0)
  })
}

/** A block on its way from the victim to the survivor, or back. */
interface Passing {
  victim: Heap
  survivor: Heap
  view: Buffer
  /** What the step may leave behind. */
  passed?: PassedBlock
  adopted?: Buffer
  channels: { victim: Channel; survivor: Channel }
  /** Who goes on with the channel first: a thread that lives on keeps its lock until it calls again. */
  next?: 'victim' | 'survivor'
}

interface PassingCase {
  name: string
  leaks?: 'all'
  prepare?: (passing: Passing) => void
  step: (passing: Passing) => void
  /** What the survivor can do with the block. */
  check?: (passing: Passing, isPassed: boolean) => void
}

/** What the survivor finds in the channel is the block, if and only if that was passed. */
function checkChannel({ channels, view, survivor, next = 'survivor' }: Passing, isPassed: boolean): void {
  const message = channels[next].tryReceive()
  expect((message !== undefined) === isPassed, `passed: ${isPassed}, received: ${message !== undefined}`)
  if (message === undefined) return
  expect(message.byteOffset === view.byteOffset && message.length === view.length, 'another message was received')
  expect(channels.survivor.tryReceive() === undefined, 'it was received twice')
  survivor.freeBuffer(message)
}

const pass = (passing: Passing) => {
  passing.passed = passing.victim.pass(passing.view)
}

const PASSING: PassingCase[] = [
  // Struck behind it, the thread has no value, and nobody has the block: as where the program drops a value.
  { name: 'pass', step: pass },
  { name: 'pass of a watched buffer', leaks: 'all', step: pass },
  ...([undefined, 'all'] as const).map(
    (leaks): PassingCase => ({
      name: leaks === undefined ? 'adopt' : 'adopt of a watched buffer',
      ...(leaks === undefined ? {} : { leaks }),
      prepare: (passing) => {
        passing.passed = passing.survivor.pass(passing.survivor.bufferAt(passing.view.byteOffset, 1000))
      },
      step: (passing) => {
        passing.adopted = passing.victim.adopt(passing.passed!)
      },
      check: ({ survivor, passed }, isPassed) => {
        let again: Buffer | undefined
        try {
          again = survivor.adopt(passed!)
        } catch (error) {
          expect((error as { code?: string }).code === 'ERR_HEAP_STALE_HANDLE', String(error))
        }
        expect((again !== undefined) === isPassed, `passed: ${isPassed}, adopted: ${again !== undefined}`)
        if (again !== undefined) survivor.freeBuffer(again)
      },
    })
  ),
  {
    name: 'send',
    step: ({ channels, view }) => channels.victim.trySend(view),
    check: checkChannel,
  },
  {
    name: 'receive',
    prepare: ({ channels, survivor, view }) => channels.survivor.trySend(survivor.bufferAt(view.byteOffset, 1000)),
    step: ({ channels }) => channels.victim.tryReceive(),
    check: checkChannel,
  },
]

/** The survivor passes many blocks through the slots, and all is whole. */
function usePasses(heap: Heap, isAlone: boolean): void {
  const { passes } = insidesOf(heap)
  const before = passes.granules().length
  for (let round = 0; round < 30; round++) heap.freeBuffer(heap.adopt(heap.pass(heap.allocBuffer(100))))
  expect(passes.granules().length === before, 'a slot stays in use')
  expect(passes.used <= 5, `${passes.used} slots were in use`)
  if (isAlone) heap.audit()
}

for (const one of PASSING) {
  test.serial(`a thread is struck anywhere in ${one.name}: the block is passed or not, and nothing in between`, (t) => {
    let struck = 0
    let passedToo = 0
    for (let n = 0; ; n++) {
      const ended = [true, false].map((dies) => {
        const mapper = new library.SimulatedMapper()
        const options = { mapper, leaks: one.leaks ?? ('off' as const) }
        const victim = new library.Heap({ limitBytes: 32 * MIB, ...options })
        const survivor = library.Heap.attach(victim.share(), options)
        const channel = new library.Channel(survivor)
        const channels = { survivor: channel, victim: library.Channel.attach(channel.share(), { heap: victim }) }
        const passing: Passing = { victim, survivor, view: victim.allocBuffer(1000), channels }
        one.prepare?.(passing)
        const before = survivor.stats().liveBytes
        try {
          if (!strikeAt(n, () => one.step(passing))) return true
          struck++
          if (dies) die(victim)
          else passing.next = 'victim'
          const granule = passing.view.byteOffset / 16
          const state = insidesOf(survivor).stateOf(granule)
          const slots = insidesOf(survivor).passes.granules()
          const isPassed = state === ObjectState.Passed
          if (isPassed) passedToo++
          expect(isPassed || state === ObjectState.Live || state === ObjectState.Watched, `it has state ${state}`)
          expect(slots.filter((other) => other === granule).length === (isPassed ? 1 : 0), `slots name ${slots}`)
          const { liveBytes, passedBytes } = survivor.stats()
          expect(liveBytes === before, `${liveBytes} bytes are live, ${before} were`)
          expect(passedBytes > 0 === isPassed, `${passedBytes} bytes are passed`)
          if (!dies) usePasses(victim, false)
          one.check?.(passing, isPassed)
          usePasses(survivor, dies)
          if (!dies) return false
          // What the dead have isn't counted twice.
          const after = survivor.stats()
          expect(after.deadThreadsBytes! <= before, `${after.deadThreadsBytes} bytes are the dead's`)
        } catch (error) {
          t.fail(`point ${n}, ${dies ? 'dead' : 'alive'}: ${error instanceof Error ? error.stack : String(error)}`)
          return true
        }
        return false
      })
      if (ended.some((is) => is)) break
    }
    t.log(`${struck} strikes, and ${passedToo} times it was passed`)
    t.true(struck > 10)
    t.true(passedToo > 0 && passedToo < struck, 'before and behind')
  })
}
