import test from 'ava'
import { ObjectBits } from '../../lib/go/object-bits.ts'
import { SpanEntry } from '../../lib/go/span.ts'
import type { GoTables } from '../../lib/go/tables.ts'

const PAGES = 40
const PAGE_WORDS = 32
const OBJECTS_WORD = 2
const COUNTS = [1, 2, 7, 31, 32, 33, 64, 170, 512, 1000, 1024]

/** Bits of spans that have so many slots, with rubbish in both sets. */
function open(objects: number) {
  const bitsPerSet = PAGES * PAGE_WORDS + 512
  const words = new Int32Array(bitsPerSet + PAGES * PAGE_WORDS).fill(0x5ee5_5ee5)
  const spans = new Int32Array(PAGES << SpanEntry.Shift)
  for (let page = 0; page < PAGES; page++) spans[(page << SpanEntry.Shift) + OBJECTS_WORD] = objects
  const bits = new ObjectBits({ bits: words, bitsPerSet, spans } as unknown as GoTables)
  const at = (set: number, start: number, slot: number) => set + start * PAGE_WORDS + (slot >>> 5)
  return {
    bits,
    words,
    set: (where: number, start: number, slot: number) => {
      words[at(where, start, slot)]! |= 1 << (slot & 31)
    },
    has: (where: number, start: number, slot: number) => ((words[at(where, start, slot)]! >>> (slot & 31)) & 1) === 1,
  }
}

/** Whether slot `i` is in the sample of the given number. */
const isIn = (sample: number, slot: number) => (Math.imul(slot + 1, 0x9e37_79b1 + sample * 2) >>> 7) % 3 === 0

for (const objects of COUNTS) {
  test(`a cleared span of ${objects} slots has none, and what is behind its last one is 1`, (t) => {
    const { bits, words, has } = open(objects)
    for (const set of [bits.allocated, bits.marked]) {
      bits.clear(set, 5)
      t.is(bits.count(set, 5), 0)
      for (let slot = 0; slot < objects; slot++) if (has(set, 5, slot)) t.fail(`${slot}`)
      for (let slot = objects; slot % 32 !== 0; slot++) if (!has(set, 5, slot)) t.fail(`${slot}`)
      t.is(words[set + 5 * PAGE_WORDS - 1], 0x5ee5_5ee5, 'its neighbours are as they were')
      t.is(words[set + 5 * PAGE_WORDS + Math.ceil(objects / 32)], 0x5ee5_5ee5)
    }
  })

  test(`a sweep of ${objects} slots leaves what was allocated and is marked, and counts it`, (t) => {
    const { bits, set, has } = open(objects)
    const [first, second] = [bits.allocated, bits.marked]
    for (let round = 0; round < 4; round++) {
      const [allocated, marked] = [bits.allocated, bits.marked]
      bits.clear(allocated, 9)
      bits.clear(marked, 9)
      let inBoth = 0
      let inFirst = 0
      for (let slot = 0; slot < objects; slot++) {
        if (isIn(round, slot)) set(allocated, 9, slot)
        if (isIn(round + 7, slot)) set(marked, 9, slot)
        if (isIn(round, slot)) inFirst++
        if (isIn(round, slot) && isIn(round + 7, slot)) inBoth++
      }
      t.is(bits.count(allocated, 9), inFirst)
      bits.swap()
      t.deepEqual([bits.allocated, bits.marked], [marked, allocated])
      t.is(bits.sweep(9), inBoth)
      t.is(bits.count(bits.allocated, 9), inBoth)
      t.is(bits.count(bits.marked, 9), 0)
      for (let slot = 0; slot < objects; slot++) {
        if (has(bits.allocated, 9, slot) !== (isIn(round, slot) && isIn(round + 7, slot))) t.fail(`${slot}`)
      }
      for (let slot = objects; slot % 32 !== 0; slot++) {
        if (!has(bits.allocated, 9, slot) || !has(bits.marked, 9, slot)) t.fail(`${slot} is behind the last`)
      }
    }
    t.deepEqual([bits.allocated, bits.marked], [first, second])
  })
}

test('a span that is all marked stays full, and one of which nothing is marked is empty', (t) => {
  for (const objects of COUNTS) {
    const { bits, set } = open(objects)
    for (const start of [3, 35]) {
      bits.clear(bits.allocated, start)
      bits.clear(bits.marked, start)
      for (let slot = 0; slot < objects; slot++) set(bits.allocated, start, slot)
      t.is(bits.count(bits.allocated, start), objects)
    }
    for (let slot = 0; slot < objects; slot++) set(bits.marked, 3, slot)
    bits.swap()
    t.is(bits.sweep(3), objects)
    t.is(bits.sweep(35), 0)
  }
})
