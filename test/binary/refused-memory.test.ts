import { Buffer } from 'node:buffer'
import test from 'ava'
import { BufferWriter, Heap } from '../../lib/index.ts'
import { SimulatedMapper } from '../../lib/testing/index.ts'
import { exhaust, OUT_OF_MEMORY } from '../support/refusals.ts'

const MIB = 2 ** 20

test('a full heap refuses what doesn’t fit, and takes what does', (t) => {
  const mapper = new SimulatedMapper()
  const heap = new Heap({ limitBytes: 64 * MIB, mapper })
  const writer = new BufferWriter({ heap, sizeHint: 1000 })
  writer.writeBytes(Buffer.alloc(500, 'x'))
  exhaust(mapper)
  const taken: number[] = []
  for (const size of [MIB, 100_000, 2048, 1024, 16])
    t.throws(() => {
      for (;;) taken.push(heap.malloc(size))
    }, OUT_OF_MEMORY)
  t.throws(() => writer.writeBytes(Buffer.alloc(5000)), OUT_OF_MEMORY)
  t.throws(() => writer.writeString('y'.repeat(5000)), OUT_OF_MEMORY)
  t.throws(() => writer.writeVarintString('y'.repeat(5000)), OUT_OF_MEMORY)
  t.throws(() => writer.reserve(5000), OUT_OF_MEMORY)
  t.throws(() => new BufferWriter({ heap }).writeUInt8(1), OUT_OF_MEMORY)
  t.is(writer.length, 500)
  writer.writeBytes(Buffer.alloc(400, 'z'))
  const lease = writer.finish()
  t.is(lease.buffer.toString(), 'x'.repeat(500) + 'z'.repeat(400))
  lease.release()
  for (const address of taken) heap.free(address)
  t.is(heap.stats().liveBytes, 0)
  heap.audit()
})

test('if there is no memory to cut a message, its block is given away as it is', (t) => {
  const mapper = new SimulatedMapper()
  const heap = new Heap({ limitBytes: 64 * MIB, mapper })
  const writer = new BufferWriter({ heap, sizeHint: 5000 })
  writer.writeString('short')
  exhaust(mapper)
  const taken: number[] = []
  for (const size of [MIB, 8192, 16])
    t.throws(() => {
      for (;;) taken.push(heap.malloc(size))
    }, OUT_OF_MEMORY)
  const lease = writer.finish()
  t.is(lease.buffer.toString(), 'short')
  lease.release()
  for (const address of taken) heap.free(address)
  t.is(heap.stats().liveBytes, 0)
  heap.audit()
})
