import { Buffer as ImportedBuffer } from 'node:buffer'
import { setTimeout } from 'node:timers/promises'

/** What a program that counts for itself has seen. */
export interface BufferCounts {
  allocations: number
  frees: number
  reallocations: number
}

/** Rounds of garbage collection before frees are counted. */
const COLLECTIONS = 10

/** Allocates by everything that is recorded, and counts: allocations as it makes them, frees by a registry of its own. */
export async function countedBuffers(rounds: number): Promise<BufferCounts> {
  const counts = { allocations: 0, frees: 0, reallocations: 0 }
  const registry = new FinalizationRegistry(() => {
    counts.frees++
  })
  const made = <T extends object>(object: T): T => {
    counts.allocations++
    registry.register(object, undefined)
    return object
  }
  for (let round = 0; round < rounds; round++) {
    allocate(made, round)
    const growing = made(new ArrayBuffer(10, { maxByteLength: 1000 }))
    growing.resize(round % 1000)
    counts.reallocations++
    if (round % 100 === 0) await setTimeout()
  }
  for (let i = 0; i < COLLECTIONS; i++) {
    globalThis.gc!()
    await setTimeout(5)
  }
  return counts
}

class Samples extends Float32Array {}

function allocate(made: <T extends object>(object: T) => T, round: number): void {
  const size = round % 5000
  made(Buffer.alloc(size))
  made(Buffer.alloc(size, 1))
  made(Buffer.allocUnsafe(size))
  made(ImportedBuffer.allocUnsafeSlow(size))
  made(Buffer.of(1, 2, 3))
  made(Buffer.concat([made(Buffer.from('some text')), made(Buffer.from([1, 2, 3]))]))
  const buffer = made(new ArrayBuffer(size))
  made(buffer.slice(size / 2))
  made(new SharedArrayBuffer(size))
  const array = made(new Uint8Array(size))
  made(array.slice(1))
  made(array.map((byte) => byte + 1))
  made(array.toReversed())
  made(Uint16Array.from([1, 2, 3]))
  made(new Float64Array([1, 2, 3]))
  made(new Samples(7))
  made(made(Buffer.from('ab')).map((byte) => byte))
  // Views: no memory of their own.
  Buffer.from(buffer)
  new Uint8Array(buffer)
  new DataView(buffer)
  array.subarray(1)
  made(Buffer.alloc(10)).subarray(1, 2)
}
