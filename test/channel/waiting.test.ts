import test from 'ava'
import { Channel, Heap } from '../../lib/index.ts'
import { callsOf } from '../support/atomics-calls.ts'

test.serial('of those who wait for a channel one sleeps, however many', async (t) => {
  const heap = new Heap({ limitBytes: 2 ** 26 })
  const channel = new Channel(heap)
  const n = 2000
  let received: Promise<unknown>[] = []
  const sleeps = await callsOf('waitAsync', async () => {
    received = Array.from({ length: n }, async () => heap.freeBuffer((await channel.receive())!))
    await new Promise((resolve) => setTimeout(resolve, 120))
  })
  t.true(sleeps < 20, `${sleeps}`)
  for (let i = 0; i < n; i++) await channel.send(heap.allocBuffer(16))
  await Promise.all(received)
  channel.close()
  heap.close()
})

test('those who wait for a channel are served in their turn, and told when it ends, or their peers have died', async (t) => {
  const heap = new Heap({ limitBytes: 2 ** 26 })
  const channel = new Channel(heap, { capacity: 1 })
  const order: number[] = []
  const receivers = Array.from({ length: 5 }, async (_, i) => {
    const message = await channel.receive()
    order.push(i, message?.[0] ?? -1)
    if (message !== undefined) heap.freeBuffer(message)
  })
  for (let i = 0; i < 3; i++) {
    const buffer = heap.allocBuffer(16)
    buffer[0] = 10 + i
    await channel.send(buffer)
  }
  channel.end()
  await Promise.all(receivers)
  t.deepEqual(order, [0, 10, 1, 11, 2, 12, 3, -1, 4, -1])
  await t.throwsAsync(() => channel.send(heap.allocBuffer(16)), { code: 'ERR_CHANNEL_CLOSED' })

  const full = new Channel(heap, { capacity: 1 })
  const sends = Array.from({ length: 4 }, (_, i) => {
    const buffer = heap.allocBuffer(16)
    buffer[0] = i
    return full.send(buffer)
  })
  const first = await full.receive()
  const second = await full.receive()
  t.deepEqual([first![0], second![0]], [0, 1])
  await new Promise(setImmediate)
  full.close()
  const ends = (await Promise.allSettled(sends)).map(({ status }) => status)
  t.deepEqual([...ends.slice(0, 2), ends[3]], ['fulfilled', 'fulfilled', 'rejected'])
  heap.close()
})
