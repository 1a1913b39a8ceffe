import { Buffer } from 'node:buffer'

/**
 * The class that Node makes its Buffers of. `new Buffer()` is deprecated and `Buffer.from(buffer, …)` takes twice as long, since it
 * finds out first what it was given; the class itself is what `Buffer[Symbol.species]` has to name, so that `map` makes Buffers.
 */
const NodeBuffer = (Buffer as unknown as { [Symbol.species]: unknown })[Symbol.species] as new (
  buffer: ArrayBuffer,
  byteOffset: number,
  length: number
) => Buffer<ArrayBuffer>

/** A constructor that gives back what it is given: a class that extends it adds its private fields to any object. */
const Given = function given(object: object): object {
  return object
} as unknown as new (
  object: object
) => object

/**
 * What a view is remembered by: two private fields that are added to it. So it stays what it is to everybody else (`Buffer.prototype`
 * is its prototype, `deepStrictEqual` finds it equal to any Buffer of the same bytes), and whose it is takes one load to tell.
 * To read `buffer` and `byteOffset` instead takes 34 ns on Node 20, and an address doesn't say that its block was freed and handed
 * out again: the view does.
 */
export class HeapView extends Given {
  /** Who made the view: a heap, or a pool. */
  #owner: object
  /** What it is called there, above 0: a block's granule, a pool's slot plus 1. Negative once it was given back. */
  #key: number

  private constructor(view: ArrayBufferView, owner: object, key: number) {
    super(view)
    this.#owner = owner
    this.#key = key
  }

  /** A Buffer over `length` bytes of `memory`. REQUIRES: they are there. */
  static buffer(memory: ArrayBuffer, address: number, length: number, owner: object, key: number): Buffer<ArrayBuffer> {
    const view = new NodeBuffer(memory, address, length)
    new HeapView(view, owner, key)
    return view
  }

  /** Makes a view of another class remembered. REQUIRES: it isn't yet. */
  static mark(view: ArrayBufferView, owner: object, key: number): void {
    new HeapView(view, owner, key)
  }

  /** The key of a view that `owner` made; negative where it was given back; 0 for views of others, and all that isn't one. */
  static keyOf(view: ArrayBufferView, owner: object): number {
    return #owner in view && (view as unknown as HeapView).#owner === owner ? (view as unknown as HeapView).#key : 0
  }

  /**
   * A Buffer that is never collected. V8 has a shape for Buffers that have these fields, and throws it away when a collection of the old
   * space finds none of them, and with it all code that was compiled for them: a program that gives each up at once had it compiled anew
   * after each such collection. (No views of other classes: one constructor that has seen many shapes takes twice as long.)
   */
  static readonly kept: Buffer = HeapView.buffer(new ArrayBuffer(0), 0, 0, HeapView, 1)

  /** The view was given back. REQUIRES: `keyOf` is above 0. */
  static revoke(view: ArrayBufferView): void {
    ;(view as unknown as HeapView).#key = -(view as unknown as HeapView).#key
  }
}
