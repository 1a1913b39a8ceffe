import { Buffer } from 'node:buffer'
import { closedError, staleHandle } from '../base/errors.ts'
import type { Heap } from '../heap/heap.ts'
import { HOST } from '../lifetime/host.ts'
import { NUMBERS, type NumberKind } from './kinds.ts'

/** A window starts at a multiple of this, and is twice as long: so an object that starts in its first half ends in it. */
const WINDOW_STEP = 2 ** 30
/** Typed arrays of at most this many bytes have small indices; above, Node 24 and 26 take 15 to 19 ns for a load. */
const WINDOW_BYTES = 2 ** 31

/**
 * A part of a heap's memory as typed arrays. When that memory is gone, the typed arrays are deleted, and the prototype's properties that
 * are then found in their place throw: so accesses need no check of their own. But if a program loses the heap's ArrayBuffer (see
 * `ViewMemory`), the only sign is that the typed arrays have length 0: so an access that finds no element calls {@link Views.lose}.
 *
 * INVARIANT: each typed array is stored once. V8 then treats it as a constant, and an access knows its bounds and the address of its bytes.
 * A single further store to any object of this class would end that for all of them; deleting a property doesn't.
 */
export class Views {
  /** Undefined after the heap was closed, or the block freed. */
  heap: Heap | undefined
  /** The address of its first byte. */
  readonly base: number
  readonly u8: Buffer
  readonly i8: Int8Array
  readonly u16: Uint16Array
  readonly i16: Int16Array
  readonly u32: Uint32Array
  readonly i32: Int32Array
  readonly u64: BigUint64Array
  readonly i64: BigInt64Array
  readonly f32: Float32Array
  readonly f64: Float64Array
  /** The error that it throws, if its memory is gone. */
  private gone: (() => Error) | undefined

  /** @param length a multiple of 8 */
  constructor(heap: Heap | undefined, buffer: ArrayBuffer, base: number, length: number) {
    this.u8 = Buffer.from(buffer, base, length)
    this.i8 = new Int8Array(buffer, base, length)
    this.u16 = new Uint16Array(buffer, base, length / 2)
    this.i16 = new Int16Array(buffer, base, length / 2)
    this.u32 = new Uint32Array(buffer, base, length / 4)
    this.i32 = new Int32Array(buffer, base, length / 4)
    this.u64 = new BigUint64Array(buffer, base, length / 8)
    this.i64 = new BigInt64Array(buffer, base, length / 8)
    this.f32 = new Float32Array(buffer, base, length / 4)
    this.f64 = new Float64Array(buffer, base, length / 8)
    this.base = base
    this.heap = heap
    this.gone = undefined
  }

  /** Its memory is gone. @param heap if the block is still there, and can be freed */
  end(error: () => Error, heap?: Heap): void {
    this.heap = heap
    this.gone = error
    for (const kind of KINDS) Reflect.deleteProperty(this, kind)
    Object.setPrototypeOf(this, GONE)
  }

  /** There is no element at an index that should have one. @throws AllocatorError `ERR_HEAP_STALE_HANDLE` */
  lose(): never {
    viewsOf(this.checkedHeap()).endLost()
    throw lostError()
  }

  /** The heap, even if its ArrayBuffer was lost. @throws AllocatorError if the memory is gone for any other reason */
  checkedHeap(): Heap {
    if (this.heap === undefined) throw this.gone!()
    return this.heap
  }

  /** Whether its memory is still there. */
  get isLive(): boolean {
    return this.gone === undefined && this.i8.length > 0
  }

  /** For operations other than accesses of one element. @throws AllocatorError if its memory is gone */
  check(): void {
    if (this.gone !== undefined) throw this.gone()
    if (!this.isLive) this.lose()
  }

  /** For accesses of many bytes. @throws AllocatorError if its memory is gone */
  get bytes(): Buffer {
    this.check()
    return this.u8
  }

  /**
   * As many bytes as there are records, only to check their indices: see `MOVE`. They aren't unsigned: Node modifies Uint8Array at startup,
   * after which V8 compares the class of each at each access.
   */
  indices(start: number, length: number): Int8Array {
    const { buffer, byteOffset } = this.bytes
    return new Int8Array(buffer, byteOffset + start, length)
  }
}

const KINDS = Object.keys(NUMBERS) as NumberKind[]

/** The prototype of views whose typed arrays are gone. */
const GONE: Views = Object.create(Views.prototype)
for (const kind of KINDS) {
  Object.defineProperty(GONE, kind, {
    get(this: Views) {
      this.check()
    },
  })
}

/** The error for using memory whose block was freed. */
export function freedError(): Error {
  return staleHandle('the record’s block was freed')
}

/** The error for using memory whose ArrayBuffer was lost. */
function lostError(): Error {
  return staleHandle(
    'a byte stream or ArrayBuffer.prototype.transfer has taken the heap’s ArrayBuffer; the block is still there: Struct.at(heap, address) gives a new record'
  )
}

/** The views of a record whose block was freed. */
export const FREED = new Views(undefined, new ArrayBuffer(0), 0, 0)
FREED.end(freedError)

/** This thread's views of a heap's memory. */
class HeapViews {
  private readonly heap: Heap
  private readonly windows: (Views | undefined)[] = []
  private blocks: WeakRef<Views>[] = []
  private nextSweep = 64

  constructor(heap: Heap) {
    this.heap = heap
    if (!heap[HOST].isOpen) throw closedError()
    heap[HOST].buffers.atClose(() => this.close())
  }

  window(address: number): Views {
    const index = Math.floor(address / WINDOW_STEP)
    const known = this.windows[index]
    if (known !== undefined) {
      if (known.isLive) return known
      this.endLost()
    }
    const base = index * WINDOW_STEP
    const length = Math.min(WINDOW_BYTES, this.heap.buffer.byteLength - base)
    const views = new Views(this.heap, this.heap[HOST].memory.over(base, length), base, length)
    this.windows[index] = views
    return views
  }

  block(address: number, length: number): Views {
    return this.remember(new Views(this.heap, this.heap[HOST].memory.over(address, length), address, length))
  }

  /** Ends the views over a lost ArrayBuffer: records then find that out without looking for an element. */
  endLost(): void {
    for (const views of this.windows.splice(0)) if (views !== undefined) this.remember(views)
    for (const block of this.blocks) {
      const views = block.deref()
      if (views?.heap !== undefined && !views.isLive) views.end(lostError, views.heap)
    }
  }

  /** Notes views that are to end at a close, if they are still in use then. */
  private remember(views: Views): Views {
    if (this.blocks.length >= this.nextSweep) {
      this.blocks = this.blocks.filter((block) => block.deref()?.heap !== undefined)
      this.nextSweep = Math.max(64, 2 * this.blocks.length)
    }
    this.blocks.push(new WeakRef(views))
    return views
  }

  private close(): void {
    for (const views of this.windows) views?.end(closedError)
    for (const block of this.blocks) {
      const views = block.deref()
      if (views?.heap !== undefined) views.end(closedError)
    }
  }
}

const byHeap = new WeakMap<Heap, HeapViews>()

function viewsOf(heap: Heap): HeapViews {
  let views = byHeap.get(heap)
  if (views === undefined) {
    views = new HeapViews(heap)
    byHeap.set(heap, views)
  }
  return views
}

/** The window whose first half has an address: all records of a heap share the windows. */
export function windowAt(heap: Heap, address: number): Views {
  return viewsOf(heap).window(address)
}

/** Typed arrays over a block. @param length at most 2 GiB; rounded up to a multiple of 8, as a block's end is */
export function blockViews(heap: Heap, address: number, length: number): Views {
  return viewsOf(heap).block(address, Math.ceil(length / 8) * 8)
}
