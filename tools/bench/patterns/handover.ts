import type { Report } from '../framework/crew.ts'
import type { Player } from './pattern.ts'
import { Word, waitWhile } from './words.ts'
import { consume, Ring } from './xmalloc.ts'

/** So many blocks through the ring; the one who allocates looks at the heap at half of them and at the end. */
export function handOver(player: Player, blocks: number, clock: () => number): Report {
  const { heap, words, thread } = player
  const start = clock()
  const batches = Math.ceil(blocks / Ring.Batch)
  const report: Report = { operations: batches * Ring.Batch, start, end: 0, peakBlocks: 0, peakBytes: 0 }
  if (thread === 1) {
    const take = consume(player)
    for (let batch = 0; batch < batches; ) if (take() > 0) batch++
    return { ...report, end: clock() }
  }
  /** Bytes that had been allocated before the batch that lies in a place of the ring. */
  const before = new Float64Array(Ring.Batches)
  let allocated = 0
  for (let tail = 0; tail < batches; tail++) {
    while (tail - Atomics.load(words, Word.Head) === Ring.Batches) waitWhile(words, Word.Head, tail - Ring.Batches)
    const place = tail % Ring.Batches
    before[place] = allocated
    for (let i = 0; i < Ring.Batch; i++) {
      const size = 16 + (player.random() % 497)
      words[Word.Ring + place * Ring.Batch + i] = heap.malloc(size)
      allocated += size
    }
    const head = Atomics.load(words, Word.Head)
    report.peakBlocks = Math.max(report.peakBlocks!, (tail + 1 - head) * Ring.Batch)
    report.peakBytes = Math.max(report.peakBytes!, allocated - before[head % Ring.Batches]!)
    Atomics.store(words, Word.Tail, tail + 1)
    if (tail === batches >> 1) report.mappedAtHalf = heap.stats().mappedBytes
  }
  while (Atomics.load(words, Word.Head) !== batches) waitWhile(words, Word.Head, Atomics.load(words, Word.Head))
  report.mappedAtEnd = heap.stats().mappedBytes
  return { ...report, end: clock() }
}
