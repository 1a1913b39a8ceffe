import { isArrayBuffer, isSharedArrayBuffer } from 'node:util/types'
import { BroadcastChannel, MessageChannel, Worker } from 'node:worker_threads'
import test from 'ava'
import { Heap } from '../../lib/index.ts'
import type { TakenReport } from '../children/view-memory.ts'
import { reportOf, runChild } from '../support/child.ts'

const [MAJOR] = process.versions.node.split('.').map(Number) as [number]

/** What would copy all of the memory for one view, or take it away. */
const refused: Record<string, (view: Uint8Array<ArrayBuffer>) => unknown> = {
  'structuredClone of a view': (view) => structuredClone(view),
  'structuredClone of its buffer': (view) => structuredClone({ deep: [view.buffer] }),
  'structuredClone, transferred': (view) => structuredClone(view, { transfer: [view.buffer] }),
  'postMessage of a view': (view) => post(view),
  'postMessage, transferred': (view) => post(view, [view.buffer]),
  BroadcastChannel: (view) => {
    const channel = new BroadcastChannel('view-memory')
    try {
      channel.postMessage(view)
    } finally {
      channel.close()
    }
  },
  workerData: (view) => new Worker('', { eval: true, workerData: view }),
  'a Worker’s transferList': (view) => new Worker('', { eval: true, workerData: view, transferList: [view.buffer] }),
}

function post(value: unknown, transferList: ArrayBuffer[] = []): void {
  const { port1, port2 } = new MessageChannel()
  try {
    port1.postMessage(value, transferList)
  } finally {
    port1.close()
    port2.close()
  }
}

for (const [place, held] of Object.entries({ 'a low address': 0, 'above 2 GiB': 2 ** 31, 'above 4 GiB': 2 ** 32 })) {
  test(`what would copy or take the memory is refused, and the heap goes on: ${place}`, (t) => {
    using heap = new Heap({ limitBytes: held + 2 ** 28 })
    for (let left = held; left > 0; left -= 2 ** 30) heap.malloc(2 ** 30)
    const view = heap.allocBuffer(1000).fill(5)
    t.true(view.byteOffset > held)
    for (const [name, refuse] of Object.entries(refused)) {
      t.is(
        nameOf(() => refuse(view)),
        'DataCloneError',
        name
      )
      t.is(view.length, 1000, name)
    }
    t.true(view.every((byte) => byte === 5))
    heap.freeBuffer(view)
    heap.audit()
  })
}

/** A DOMException is no error to ava. */
function nameOf(call: () => unknown): string {
  try {
    call()
    return 'no error'
  } catch (error) {
    return (error as Error).name
  }
}

test('attachments of one heap have an ArrayBuffer each over the same memory, however small the limit', (t) => {
  using heap = new Heap({ limitBytes: 2 ** 20 })
  using attached = Heap.attach(heap.share())
  const buffer = heap.allocBuffer(100).fill(3)
  const other = attached.bufferAt(heap.addressOf(buffer), 100)
  t.deepEqual(other, buffer)
  t.true(other.buffer !== buffer.buffer)
  for (const { buffer: memory } of [buffer, other]) t.true(isArrayBuffer(memory) && memory.byteLength >= 2 ** 32)
  t.true(isSharedArrayBuffer(heap.buffer) && isSharedArrayBuffer(attached.buffer))
  attached.freeBuffer(other)
})

test('a program may mark the buffers untransferable too: the close goes well', async (t) => {
  t.is(reportOf(await runChild('view-memory', ['marked'])), 'closed')
})

const ways = MAJOR < 22 ? ['byte stream'] : ['byte stream', 'transfer']

for (const way of ways) {
  test(`the ArrayBuffer that a program takes by ${way} isn’t the memory: ${MAJOR < 24 ? 'another is made' : 'it isn’t taken'}`, async (t) => {
    const taken = MAJOR < 24
    for (const report of reportOf<TakenReport[]>(await runChild('view-memory', [way]))) {
      const { warnings, ...rest } = report
      t.deepEqual(rest, {
        refused: taken ? null : 'TypeError',
        lengths: taken ? [0, 0, 0, 0] : [100, 100, 1000, 1000],
        ...{ bytes: true, newOnes: [100, 10], acquired: 0, liveBytes: 0 },
      })
      t.is(warnings.length, taken ? 1 : 0, 'one for all heaps')
      if (taken) t.regex(warnings[0]!, /has taken the ArrayBuffer of a heap/)
    }
  })
}
