import test from 'ava'
import { Seats } from '../../lib/threads/seats.ts'
import { SlotState, ThreadSlots, threadSlotWords } from '../../lib/threads/thread-slots.ts'

/** Three seats behind a word of something else, for threads of which the first `live` live. */
function open(live: number) {
  const words = new Int32Array(new SharedArrayBuffer(6 * 4))
  const threads = new ThreadSlots(new Int32Array(threadSlotWords(live)).fill((1 << 2) | SlotState.Live, 1, 1 + live))
  return { words, threads, seats: new Seats(words, 1, 3, threads) }
}

test('each thread gets a seat, as long as there are any, and only seats are written', (t) => {
  const { words, threads, seats } = open(4)
  const tags = [0, 1, 2, 3].map((slot) => threads.tag(slot))
  t.deepEqual(
    tags.map((tag) => seats.take(tag)),
    [1, 2, 3, 0]
  )
  t.deepEqual([...words], [0, ...tags.slice(0, 3), 0, 0])
  t.deepEqual(seats.count(), { live: 3, dead: 0 })
})

test('who has died is counted, until a thread takes the seat', (t) => {
  const { words, threads, seats } = open(4)
  for (const slot of [0, 1, 2]) seats.take(threads.tag(slot))
  threads.markDead(1)
  t.deepEqual(seats.count(), { live: 2, dead: 1 })
  t.is(seats.take(threads.tag(3)), 2)
  t.deepEqual(seats.count(), { live: 3, dead: 0 })
  words[1] = 0
  t.deepEqual(seats.count(), { live: 2, dead: 0 })
})
