/**
 * A thread of bench/threads.ts: it runs one pattern at a time for so many seconds, and tells what it did. All that two threads
 * have to agree on lies in one Int32Array that they share (see {@link Word}); bench/native/threads.c plays the same in C.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { parentPort, workerData } from 'node:worker_threads'
import { Heap } from '../lib/heap.ts'
import type { HeapOptions } from '../lib/heap-options.ts'
import type { HeapToken } from '../lib/token.ts'

/** Where the words lie that the threads share. Those that different threads write are in lines of their own. */
export const enum Word {
  Arrived = 0,
  /** A thread whose time is over sets it, so that nobody waits for that thread. */
  Stop = 16,
  Tail = 32,
  Head = 48,
  /** The rounds that each of the two has finished. */
  Rounds = 64,
  Transfer = 128,
  Arrays = 2048,
  Ring = 4096,
  Count = 4096 + 4096,
}

const enum Ring {
  /** How many addresses are handed over at once. */
  Batch = 64,
  /** As many batches, so that the one who allocates stops when the other is 4096 blocks behind. */
  Batches = Batch,
}

const enum Of {
  /** The live blocks of a set, and the places of the transfer array. */
  Live = 1000,
  /** Operations of one call: entered often, so that V8 compiles it whole. */
  Chunk = 4096,
  LarsonRound = 8192,
  Writes = 100,
}

export interface ThreadData {
  thread: number
  words: SharedArrayBuffer
  /** Where the heap is another thread's. */
  token: HeapToken | undefined
  options: HeapOptions
}

export interface Order {
  pattern: string
  parties: number
  seconds: number
  /** For handover: how many blocks. */
  blocks?: number
}

export interface Report {
  operations: number
  /** By the clock that all threads have in common. */
  start: number
  end: number
  mappedAtHalf?: number
  mappedAtEnd?: number
  peakBlocks?: number
  peakBytes?: number
}

const { thread, words: shared, token, options } = workerData as ThreadData
const words = new Int32Array(shared)
const heap = token === undefined ? new Heap(options) : Heap.attach(token)
let seed = thread + 1

/** Milliseconds of a clock that all threads have in common; a worker's `performance.now()` starts at 0. */
function clock(): number {
  return Number(process.hrtime.bigint()) / 1e6
}

/** The next random number, 32 bits without a sign. Inlined wherever it is called. */
function random(): number {
  seed ^= seed << 13
  seed ^= seed >>> 17
  seed ^= seed << 5
  return seed >>> 0
}

/** Waits a moment: first by looking again and again, then asleep, since the other may need this core. The C side does the same. */
function waitWhile(word: number, value: number): boolean {
  for (let look = 0; look < 1000; look++) if (Atomics.load(words, word) !== value) return true
  Atomics.wait(words, Word.Arrived + 1, 0, 0.1)
  return Atomics.load(words, word) !== value
}

/** Part of a pattern: plays some operations, and tells how many. */
type Chunk = () => number

function pair(): Chunk {
  return () => {
    for (let i = 0; i < Of.Chunk; i++) heap.free(heap.malloc(64))
    return Of.Chunk
  }
}

function replace(): Chunk {
  const live = new Int32Array(Of.Live)
  for (let i = 0; i < Of.Live; i++) live[i] = heap.malloc(16 + (random() % 4081))
  return () => {
    for (let i = 0; i < Of.Chunk; i++) {
      const at = random() % Of.Live
      heap.free(live[at]!)
      live[at] = heap.malloc(16 + (random() % 4081))
    }
    return Of.Chunk
  }
}

/** Shares nothing: what two cores can do at best. About as much memory as the blocks and tables of `replace`. */
function control(): Chunk {
  const own = new Int32Array(2 ** 17)
  return () => {
    for (let i = 0; i < Of.Chunk; i++) {
      const at = random() % own.length
      own[at] = (own[at]! + random()) | 0
    }
    return Of.Chunk
  }
}

/** Random blocks of an array are replaced; after each round the two swap their arrays, so that each frees the other's blocks. */
function larson(): Chunk {
  const rounds = Word.Rounds + 16 * thread
  const others = Word.Rounds + 16 * (1 - thread)
  return () => {
    const round = words[rounds]!
    const array = Word.Arrays + 1000 * ((thread + round) & 1)
    for (let i = 0; i < Of.LarsonRound; i++) {
      const at = array + (random() % Of.Live)
      if (words[at] !== 0) heap.free(words[at]!)
      words[at] = heap.malloc(8 + (random() % 993))
    }
    Atomics.store(words, rounds, round + 1)
    while (Atomics.load(words, others) === round && Atomics.load(words, Word.Stop) === 0) waitWhile(others, round)
    return Of.LarsonRound
  }
}

/** Puts a batch of new blocks into the ring; 0 if it stays full. */
function produce(least: number, range: number): Chunk {
  return () => {
    const tail = words[Word.Tail]!
    if (((tail - Atomics.load(words, Word.Head)) | 0) === Ring.Batches) {
      if (!waitWhile(Word.Head, (tail - Ring.Batches) | 0)) return 0
    }
    const start = Word.Ring + (tail % Ring.Batches) * Ring.Batch
    for (let at = start; at < start + Ring.Batch; at++) words[at] = heap.malloc(least + (random() % range))
    Atomics.store(words, Word.Tail, (tail + 1) | 0)
    return Ring.Batch
  }
}

/** Frees a batch of the ring; 0 if it stays empty. */
function consume(): Chunk {
  return () => {
    const head = words[Word.Head]!
    if (Atomics.load(words, Word.Tail) === head && !waitWhile(Word.Tail, head)) return 0
    const start = Word.Ring + (head % Ring.Batches) * Ring.Batch
    for (let at = start; at < start + Ring.Batch; at++) heap.free(words[at]!)
    Atomics.store(words, Word.Head, (head + 1) | 0)
    return Ring.Batch
  }
}

/** Each allocates and frees in a set of its own, and every fourth time exchanges a block with an array of both. */
function mstress(): Chunk {
  const live = new Int32Array(Of.Live)
  return () => {
    for (let i = 0; i < Of.Chunk; i++) {
      const at = random() % Of.Live
      if (live[at] !== 0) {
        heap.free(live[at]!)
        live[at] = 0
      } else {
        live[at] = heap.malloc(16 + (random() % 1009))
      }
      if ((i & 3) === 0) {
        const other = random() % Of.Live
        live[other] = Atomics.exchange(words, Word.Transfer + (random() % Of.Live), live[other]!)
      }
    }
    return Of.Chunk
  }
}

/** Blocks of 8 bytes that are written many times: slow where two threads have blocks in one line of the cache. */
function cacheThrash(): Chunk {
  // Not of all: a view can't have as many elements as a heap may have bytes, and these blocks lie at its start.
  const bytes = new Int8Array(heap.buffer, 0, Math.min(heap.buffer.byteLength, 2 ** 30))
  return () => {
    for (let i = 0; i < Of.Chunk / 16; i++) {
      const block = heap.malloc(8)
      for (let write = 0; write < Of.Writes; write++) bytes[block + (write & 7)]!++
      heap.free(block)
    }
    return Of.Chunk / 16
  }
}

const patterns: Record<string, () => Chunk> = {
  pair,
  replace,
  control,
  larson,
  'xmalloc-64': () => (thread === 0 ? produce(64, 1) : consume()),
  'xmalloc-random': () => (thread === 0 ? produce(16, 497) : consume()),
  mstress,
  'cache-thrash': cacheThrash,
}

/** So many blocks through the ring; the one who allocates looks at the heap at half of them and at the end. */
function handOver(blocks: number): Report {
  const start = clock()
  const batches = Math.ceil(blocks / Ring.Batch)
  const report: Report = { operations: batches * Ring.Batch, start, end: 0, peakBlocks: 0, peakBytes: 0 }
  if (thread === 1) {
    const take = consume()
    for (let batch = 0; batch < batches; ) if (take() > 0) batch++
    return { ...report, end: clock() }
  }
  /** Bytes that had been allocated before the batch that lies in a place of the ring. */
  const before = new Float64Array(Ring.Batches)
  let allocated = 0
  for (let tail = 0; tail < batches; tail++) {
    while (tail - Atomics.load(words, Word.Head) === Ring.Batches) waitWhile(Word.Head, tail - Ring.Batches)
    const place = tail % Ring.Batches
    before[place] = allocated
    for (let i = 0; i < Ring.Batch; i++) {
      const size = 16 + (random() % 497)
      words[Word.Ring + place * Ring.Batch + i] = heap.malloc(size)
      allocated += size
    }
    const head = Atomics.load(words, Word.Head)
    report.peakBlocks = Math.max(report.peakBlocks!, (tail + 1 - head) * Ring.Batch)
    report.peakBytes = Math.max(report.peakBytes!, allocated - before[head % Ring.Batches]!)
    Atomics.store(words, Word.Tail, tail + 1)
    if (tail === batches >> 1) report.mappedAtHalf = heap.stats().mappedBytes
  }
  while (Atomics.load(words, Word.Head) !== batches) waitWhile(Word.Head, Atomics.load(words, Word.Head))
  report.mappedAtEnd = heap.stats().mappedBytes
  return { ...report, end: clock() }
}

/** The last one to arrive wakes the others: all start at once. */
function startTogether(parties: number): void {
  if (Atomics.add(words, Word.Arrived, 1) + 1 === parties) Atomics.notify(words, Word.Arrived)
  for (let arrived = 0; arrived < parties; ) {
    arrived = Atomics.load(words, Word.Arrived)
    if (arrived < parties) Atomics.wait(words, Word.Arrived, arrived)
  }
}

/** A pattern keeps its blocks from one order to the next. */
const begun = new Map<string, Chunk>()

function obey({ pattern, parties, seconds, blocks }: Order): Report {
  if (pattern === 'handover') {
    startTogether(parties)
    return handOver(blocks!)
  }
  const chunk = begun.get(pattern) ?? patterns[pattern]!()
  begun.set(pattern, chunk)
  startTogether(parties)
  const start = clock()
  const end = start + 1000 * seconds
  let operations = 0
  let now = start
  // The first one that is done ends it for both: nobody's operations count for which the other had stopped already.
  while (now < end && Atomics.load(words, Word.Stop) === 0) {
    operations += chunk()
    now = clock()
  }
  Atomics.store(words, Word.Stop, 1)
  return { operations, start, end: now }
}

parentPort!.on('message', async (order: Order) => {
  const report = obey(order)
  // V8 ends compilations in the background at a turn of the loop, so one is taken between orders.
  await sleep(1)
  parentPort!.postMessage(report)
})
