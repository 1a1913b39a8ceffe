/**
 * A thread of a crew: it plays one pattern at a time, for so many seconds or calls, and tells what it did.
 * tools/bench/native/patterns.c plays the same in C.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { parentPort, workerData } from 'node:worker_threads'
import { Heap } from 'spanheap'
import { PATTERNS } from '../patterns/all.ts'
import { handOver } from '../patterns/handover.ts'
import { type Chunk, Player } from '../patterns/pattern.ts'
import { Word } from '../patterns/words.ts'
import type { Order, Report, ThreadData } from './crew.ts'

const { thread, words: shared, token, options } = workerData as ThreadData
const words = new Int32Array(shared)
const heap = token === undefined ? new Heap(options) : Heap.attach(token)

/** Milliseconds of a clock that all threads have in common; a worker's `performance.now()` starts at 0. */
function clock(): number {
  return Number(process.hrtime.bigint()) / 1e6
}

/** The last one to arrive wakes the others: all start at once. */
function startTogether(parties: number): void {
  if (Atomics.add(words, Word.Arrived, 1) + 1 === parties) Atomics.notify(words, Word.Arrived)
  for (let arrived = 0; arrived < parties; ) {
    arrived = Atomics.load(words, Word.Arrived)
    if (arrived < parties) Atomics.wait(words, Word.Arrived, arrived)
  }
}

/** By pattern and how many play it. */
const begun = new Map<string, Chunk>()

function chunkOf(pattern: string, parties: number): Chunk {
  const key = `${pattern} ${parties}`
  const chunk = begun.get(key) ?? PATTERNS[pattern]!(new Player(heap, words, thread, parties))
  begun.set(key, chunk)
  return chunk
}

function obey({ pattern, parties, seconds, chunks, blocks }: Order): Report {
  if (pattern === 'handover') {
    startTogether(parties)
    return handOver(new Player(heap, words, thread, parties), blocks!, clock)
  }
  const chunk = chunkOf(pattern, parties)
  startTogether(parties)
  return chunks === undefined ? playFor(seconds!, chunk) : playTimes(chunks, chunk)
}

function playFor(seconds: number, chunk: Chunk): Report {
  const start = clock()
  const end = start + 1000 * seconds
  let operations = 0
  let now = start
  // The first one that is done ends it for all: nobody's operations count for which the others had stopped already.
  while (now < end && Atomics.load(words, Word.Stop) === 0) {
    operations += chunk()
    now = clock()
  }
  Atomics.store(words, Word.Stop, 1)
  return { operations, start, end: now }
}

function playTimes(chunks: number, chunk: Chunk): Report {
  const start = clock()
  let operations = 0
  for (let played = 0; played < chunks; ) {
    const more = chunk()
    if (more > 0) played++
    operations += more
  }
  return { operations, start, end: clock() }
}

parentPort!.on('message', async (order: Order) => {
  const report = obey(order)
  // V8 ends compilations in the background at a turn of the loop, so one is taken between orders.
  await sleep(1)
  parentPort!.postMessage(report)
})
