import { Worker } from 'node:worker_threads'
import test from 'ava'
import { childScript } from '../support/child.ts'
import { nativeMapper, reserve } from '../support/native-mappers.ts'

const KIB = 1024
const MIB = 2 ** 20
const FREE = 0
const LIVE = 1
const DEAD = 2

test('slots are claimed in order, given back by their owner only, and refused when all are taken', (t) => {
  const mapping = reserve(nativeMapper(), MIB)
  t.is(mapping.grow(0, 64 * KIB), 0)
  const words = new Int32Array(mapping.buffer, 128 + 4, 3)
  const states = () => [...words].map((word) => word & 3)
  t.deepEqual(
    [0, 1, 2, 3].map(() => mapping.claimSlot(128, 3, false)),
    [0, 1, 2, -1]
  )
  t.deepEqual(states(), [LIVE, LIVE, LIVE])
  const claims = words[1]! >>> 2
  mapping.freeSlot(128, 1)
  t.deepEqual(states(), [LIVE, FREE, LIVE])
  t.is(mapping.claimSlot(128, 3, false), 1)
  t.is(words[1]! >>> 2, claims + 1, 'a new owner can be told from an earlier one')
  mapping.freeSlot(128, 0)
  words[0] = LIVE // as if another thread had claimed it
  mapping.freeSlot(128, 0)
  t.deepEqual(states(), [LIVE, LIVE, LIVE])
  for (const index of [1, 2]) mapping.freeSlot(128, index)
  t.deepEqual(states(), [LIVE, FREE, FREE])
})

test('the spare slot lies behind the others, and is taken from the dead and from oneself, but not from the living', (t) => {
  const mapping = reserve(nativeMapper(), MIB)
  t.is(mapping.grow(0, 64 * KIB), 0)
  const words = new Int32Array(mapping.buffer, 128 + 4, 4)
  const claim = () => mapping.claimSlot(128, 3, true)
  t.is(claim(), 3)
  t.deepEqual([...words], [0, 0, 0, 4 + LIVE])
  t.is(claim(), 3, 'this thread has it')
  t.is(words[3], 8 + LIVE)
  words[3] = 12 + DEAD
  t.is(claim(), 3)
  t.is(words[3], 16 + LIVE)
  mapping.freeSlot(128, 3)
  t.is(words[3], 16 + FREE)
  words[3] = 20 + LIVE
  t.is(claim(), -1, 'another thread has it')
  t.is(words[3], 20 + LIVE)
})

test('an owner’s own slot is marked dead as at its end, once, and another’s isn’t', (t) => {
  const mapping = reserve(nativeMapper(), MIB)
  t.is(mapping.grow(0, 64 * KIB), 0)
  const words = new Int32Array(mapping.buffer, 128, 3)
  mapping.claimSlot(128, 2, false)
  for (let time = 0; time < 2; time++) {
    mapping.endSlot(128, 0)
    t.deepEqual([words[0], words[1]! & 3, words[2]], [1, DEAD, 0])
  }
  mapping.endSlot(128, 1)
  t.is(mapping.claimSlot(128, 2, false), 1)
  words[2]! += 4 // as if it had been cleared up behind this thread, and claimed by another
  mapping.endSlot(128, 1)
  t.deepEqual([words[0], words[2]! & 3], [1, LIVE])
})

test('the slot of a worker that ends, or is terminated, is marked dead before anybody hears of it', async (t) => {
  for (const terminate of [false, true]) {
    const worker = new Worker(childScript('claimed-slots'), { workerData: { wait: terminate } })
    const buffer = await new Promise<SharedArrayBuffer>((resolve, reject) => {
      worker.once('message', resolve).once('error', reject)
    })
    const words = new Int32Array(buffer, 4, 2)
    const states = () => [...words].map((word) => word & 3)
    if (terminate) {
      t.deepEqual(states(), [LIVE, FREE])
      await worker.terminate()
    } else {
      await new Promise((resolve) => worker.once('exit', resolve))
    }
    t.deepEqual(states(), [DEAD, FREE])
  }
})
