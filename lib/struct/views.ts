import { AllocatorError, closedError } from '../errors.ts'
import type { AnyHeap } from './shapes.ts'

/** A window starts at a multiple of this, and is twice as long: so what starts in its first half ends in it. */
const WINDOW_STEP = 2 ** 30
/** Typed arrays of at most so many bytes have small indices; above, Node 24 and 26 take 15 to 19 ns for a load. */
const WINDOW_BYTES = 2 ** 31

/**
 * A part of a heap's memory as typed arrays. When what it shows is gone, each is replaced by an object that throws at every use:
 * so accesses need no check of their own.
 */
export class Views {
  heap: AnyHeap | undefined
  /** The address of its first byte. */
  base: number
  u8: Buffer
  i8: Int8Array
  u16: Uint16Array
  i16: Int16Array
  u32: Uint32Array
  i32: Int32Array
  u64: BigUint64Array
  i64: BigInt64Array
  f32: Float32Array
  f64: Float64Array

  /** @param length a multiple of 8 */
  constructor(heap: AnyHeap | undefined, buffer: ArrayBufferLike, base: number, length: number) {
    this.heap = heap
    this.base = base
    this.u8 = Buffer.from(buffer as ArrayBuffer, base, length)
    this.i8 = new Int8Array(buffer, base, length)
    this.u16 = new Uint16Array(buffer, base, length / 2)
    this.i16 = new Int16Array(buffer, base, length / 2)
    this.u32 = new Uint32Array(buffer, base, length / 4)
    this.i32 = new Int32Array(buffer, base, length / 4)
    this.u64 = new BigUint64Array(buffer, base, length / 8)
    this.i64 = new BigInt64Array(buffer, base, length / 8)
    this.f32 = new Float32Array(buffer, base, length / 4)
    this.f64 = new Float64Array(buffer, base, length / 8)
  }

  /** What it showed is gone. */
  end(reason: Views): void {
    this.heap = undefined
    this.base = reason.base
    this.u8 = reason.u8
    this.i8 = reason.i8
    this.u16 = reason.u16
    this.i16 = reason.i16
    this.u32 = reason.u32
    this.i32 = reason.i32
    this.u64 = reason.u64
    this.i64 = reason.i64
    this.f32 = reason.f32
    this.f64 = reason.f64
  }

  /** The heap. @throws AllocatorError where what it shows is gone */
  checkedHeap(): AnyHeap {
    if (this.heap === undefined) this.u8[0]
    return this.heap!
  }
}

function endedViews(error: () => Error): Views {
  const fail = () => {
    throw error()
  }
  const views = new Views(undefined, new ArrayBuffer(0), 0, 0)
  const thrower = new Proxy(views.u8, { get: fail, set: fail, has: fail, getPrototypeOf: fail })
  for (const kind of ['u8', 'i8', 'u16', 'i16', 'u32', 'i32', 'u64', 'i64', 'f32', 'f64'] as const)
    Object.assign(views, { [kind]: thrower })
  return views
}

/** What a record shows once its block was freed. */
export const FREED = endedViews(() => new AllocatorError('ERR_HEAP_STALE_HANDLE', 'the record’s block was freed'))
/** The same once the heap is closed. */
export const CLOSED = endedViews(closedError)

/** What this thread looks at a heap's memory through. */
class HeapViews {
  private readonly heap: AnyHeap
  private readonly windows: (Views | undefined)[] = []
  private blocks: WeakRef<Views>[] = []
  private nextSweep = 64

  constructor(heap: AnyHeap) {
    this.heap = heap
    if (!heap.isOpen) throw closedError()
    heap.owners.atClose(() => this.close())
  }

  window(address: number): Views {
    const index = Math.floor(address / WINDOW_STEP)
    const known = this.windows[index]
    if (known !== undefined) return known
    const base = index * WINDOW_STEP
    const views = new Views(
      this.heap,
      this.heap.buffer,
      base,
      Math.min(WINDOW_BYTES, this.heap.buffer.byteLength - base)
    )
    this.windows[index] = views
    return views
  }

  block(address: number, length: number): Views {
    const views = new Views(this.heap, this.heap.buffer, address, length)
    if (this.blocks.length >= this.nextSweep) {
      this.blocks = this.blocks.filter((block) => block.deref()?.heap !== undefined)
      this.nextSweep = Math.max(64, 2 * this.blocks.length)
    }
    this.blocks.push(new WeakRef(views))
    return views
  }

  private close(): void {
    for (const views of this.windows) views?.end(CLOSED)
    for (const block of this.blocks) {
      const views = block.deref()
      if (views?.heap !== undefined) views.end(CLOSED)
    }
  }
}

const byHeap = new WeakMap<AnyHeap, HeapViews>()

function viewsOf(heap: AnyHeap): HeapViews {
  let views = byHeap.get(heap)
  if (views === undefined) {
    views = new HeapViews(heap)
    byHeap.set(heap, views)
  }
  return views
}

/** The window that an address is in the first half of: all records of a heap share them. */
export function windowAt(heap: AnyHeap, address: number): Views {
  return viewsOf(heap).window(address)
}

/** Typed arrays over a block. @param length at most 2 GiB; rounded up to a multiple of 8, which a block's end is */
export function blockViews(heap: AnyHeap, address: number, length: number): Views {
  return viewsOf(heap).block(address, Math.ceil(length / 8) * 8)
}
