import { Buffer } from 'node:buffer'
import { closedError, staleHandle } from '../base/errors.ts'
import type { Heap } from '../heap/heap.ts'
import { HOST } from '../lifetime/host.ts'
import { NUMBERS, type NumberKind } from './kinds.ts'

/** A window starts at a multiple of this, and is twice as long: so what starts in its first half ends in it. */
const WINDOW_STEP = 2 ** 30
/** Typed arrays of at most so many bytes have small indices; above, Node 24 and 26 take 15 to 19 ns for a load. */
const WINDOW_BYTES = 2 ** 31

/**
 * A part of a heap's memory as typed arrays. When what it shows is gone, they are taken from it, and what is then found in their place
 * throws: so accesses need no check of their own. But nothing tells that a program has lost the heap's ArrayBuffer (see `ViewMemory`),
 * except that the typed arrays have length 0: so an access that finds no element calls {@link Views.lose}.
 *
 * INVARIANT: each typed array is stored once. V8 takes it for a constant then, and an access knows its bounds and where its bytes
 * are; a single store to any object of this class would end that for all. To take a property away doesn't.
 */
export class Views {
  /** Undefined after it was closed, or the block freed. */
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
  /** What it throws, if what it shows is gone. */
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

  /** What it showed is gone. @param heap if the block is still there, and can be freed */
  end(error: () => Error, heap?: Heap): void {
    this.heap = heap
    this.gone = error
    for (const kind of KINDS) Reflect.deleteProperty(this, kind)
    Object.setPrototypeOf(this, GONE)
  }

  /** There is no element where one should be. @throws AllocatorError `ERR_HEAP_STALE_HANDLE` */
  lose(): never {
    viewsOf(this.checkedHeap()).endLost()
    throw lostError()
  }

  /** The heap, also if its ArrayBuffer was lost. @throws AllocatorError if what it shows is gone otherwise */
  checkedHeap(): Heap {
    if (this.heap === undefined) throw this.gone!()
    return this.heap
  }

  /** Whether there is anything to see. */
  get isLive(): boolean {
    return this.gone === undefined && this.i8.length > 0
  }

  /** For what is no access of one element. @throws AllocatorError if what it shows is gone */
  check(): void {
    if (this.gone !== undefined) throw this.gone()
    if (!this.isLive) this.lose()
  }

  /** For accesses of many bytes. @throws AllocatorError if what it shows is gone */
  get bytes(): Buffer {
    this.check()
    return this.u8
  }

  /**
   * As many bytes as there are records, for the check of their indices alone: see `MOVE`. Not of unsigned bytes: Node changes a
   * Uint8Array at its start, after which V8 compares the class of each at each access.
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

/** What a use of memory says whose block was freed. */
export function freedError(): Error {
  return staleHandle('the record’s block was freed')
}

/** What a use of memory says whose ArrayBuffer was lost. */
function lostError(): Error {
  return staleHandle(
    'a byte stream or ArrayBuffer.prototype.transfer has taken the heap’s ArrayBuffer; the block is still there: Struct.at(heap, address) gives a new record'
  )
}

/** What a record shows once its block was freed. */
export const FREED = new Views(undefined, new ArrayBuffer(0), 0, 0)
FREED.end(freedError)

/** What this thread looks at a heap's memory through. */
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

  /** What was over an ArrayBuffer that is lost shows nothing from here on: records find that out without looking for an element. */
  endLost(): void {
    for (const views of this.windows.splice(0)) if (views !== undefined) this.remember(views)
    for (const block of this.blocks) {
      const views = block.deref()
      if (views?.heap !== undefined && !views.isLive) views.end(lostError, views.heap)
    }
  }

  /** It is to end at a close, if it is still in use then. */
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

/** The window that an address is in the first half of: all records of a heap share them. */
export function windowAt(heap: Heap, address: number): Views {
  return viewsOf(heap).window(address)
}

/** Typed arrays over a block. @param length at most 2 GiB; rounded up to a multiple of 8, which a block's end is */
export function blockViews(heap: Heap, address: number, length: number): Views {
  return viewsOf(heap).block(address, Math.ceil(length / 8) * 8)
}
