import { Worker } from 'node:worker_threads'
import test from 'ava'
import { Locks } from '../../lib/threads/locks.ts'
import { SlotState, ThreadSlots, threadSlotWords } from '../../lib/threads/thread-slots.ts'

const SLOTS = 3

/** Slots of which all live, and the first is this thread's; locks over one word, as each slot has them. */
function open() {
  const slotWords = new Int32Array(new SharedArrayBuffer(4 * threadSlotWords(SLOTS)))
  slotWords.fill(SlotState.Live, 1, 1 + SLOTS)
  const slots = new ThreadSlots(slotWords)
  slots.noteThread(0)
  const words = new Int32Array(new SharedArrayBuffer(128))
  const mended: number[] = []
  const mender = { mend: (_: number, owner: number) => void mended.push(owner), check: () => {} }
  const locksOf = (slot: number) => new Locks(words, 0, slots, slots.tag(slot), mender)
  return { slots, words, mended, locksOf }
}

test('who waits doesn’t count the time that a clock jumps: a process may have been stopped', async (t) => {
  const { words, locksOf } = open()
  locksOf(1).acquire(0)
  const release = 'const { workerData: w } = require("worker_threads"); setTimeout(() => Atomics.store(w, 0, 0), 100)'
  const worker = new Worker(release, { eval: true, workerData: words })
  const { now } = Date
  let jumps = 0
  Date.now = () => now() + 20_000 * jumps++
  try {
    locksOf(0).acquire(0)
    t.is(locksOf(0).owner(0), 1)
  } finally {
    Date.now = now
    await worker.terminate()
  }
})

test('a lock that this thread holds by another of its slots was left by a strike: it is taken over, and mended', (t) => {
  const { slots, mended, locksOf } = open()
  slots.noteThread(2)
  locksOf(2).acquire(0)
  const before = performance.now()
  locksOf(0).acquire(0)
  t.deepEqual(mended, [2])
  t.true(performance.now() - before < 1000)
  t.is(locksOf(0).owner(0), 1)
})

test('an owner is rung by the bell of its slot, once for each sleep, and answers from its event loop', async (t) => {
  const { slots, words, locksOf } = open()
  const owner = locksOf(1)
  owner.acquire(0)
  const before = slots.rings(1)
  const waits = `
    const { workerData: { words, slotWords, url, slotsUrl } } = require('worker_threads')
    Promise.all([import(url), import(slotsUrl)]).then(([{ Locks }, { ThreadSlots }]) => {
      const slots = new ThreadSlots(slotWords)
      slots.noteThread(2)
      new Locks(words, 0, slots, slots.tag(2), { mend() {}, check() {} }).acquire(0)
    })`
  const [url, slotsUrl] = ['locks', 'thread-slots'].map(
    (name) => new URL(`../../lib/threads/${name}.js`, import.meta.url).href
  )
  const answered = new Promise<void>((resolve) => slots.whenRung(1, before, resolve))
  const slotWords = (slots as unknown as { words: Int32Array }).words
  const worker = new Worker(waits, { eval: true, workerData: { words, slotWords, url, slotsUrl } })
  await answered
  t.true(slots.rings(1) > before)
  owner.settle()
  t.not(owner.owner(0), slots.tag(1))
  await new Promise((resolve) => worker.once('exit', resolve))
  t.is(locksOf(0).owner(0), slots.tag(2))
})
