import { Buffer } from 'node:buffer'
import { isDataView } from 'node:util/types'

/**
 * The class of Node's Buffers. `new Buffer()` is deprecated, and `Buffer.from(buffer, …)` takes twice as long, since it first examines its
 * arguments. `Buffer[Symbol.species]` must name the class itself, so that `map` makes Buffers.
 */
export const NodeBuffer = (Buffer as unknown as { [Symbol.species]: unknown })[Symbol.species] as new (
  buffer: ArrayBuffer,
  byteOffset: number,
  length: number
) => Buffer<ArrayBuffer>

/** A constructor that returns its argument: a class that extends it adds its private fields to any object. */
const Given = function given(object: object): object {
  return object
} as unknown as new (
  object: object
) => object

/**
 * Two private fields that are added to a view, by which its owner recognizes it. To other code the view is unchanged (`Buffer.prototype` is
 * its prototype, `deepStrictEqual` finds it equal to any Buffer of the same bytes), and one load tells its owner. Reading `buffer` and
 * `byteOffset` instead takes 34 ns on Node 20, and an address can't tell that its block was freed and handed out again, as the fields do.
 */
export class HeapView extends Given {
  /** The maker of the view: a heap or a pool. */
  #owner: object
  /** The owner's key for the view, above 0: a block's granule, or a pool's slot plus 1. Negative once it was given back. */
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

  /** Adds the fields to a view of another class. REQUIRES: it doesn't have them yet. */
  static mark(view: ArrayBufferView, owner: object, key: number): void {
    new HeapView(view, owner, key)
  }

  /** The key of a view that `owner` made; negative if it was given back; 0 for other owners' views and for anything else. */
  static keyOf(view: ArrayBufferView, owner: object): number {
    return #owner in view && (view as unknown as HeapView).#owner === owner ? (view as unknown as HeapView).#key : 0
  }

  /** The maker of a view; undefined if the view isn't one of these. */
  static ownerOf(view: ArrayBufferView): object | undefined {
    return #owner in view ? (view as unknown as HeapView).#owner : undefined
  }

  /**
   * A Buffer that is never collected. V8 has a shape for Buffers with these fields. If a collection of the old space finds no such Buffer,
   * V8 drops the shape and all code compiled for it: a program that gives up each Buffer at once had that code compiled anew after each
   * such collection. (No views of other classes are kept: a constructor that has seen many shapes takes twice as long.)
   */
  static readonly kept: Buffer = HeapView.buffer(new ArrayBuffer(0), 0, 0, HeapView, 1)

  /** Marks the view as given back. REQUIRES: `keyOf` is above 0. */
  static revoke(view: ArrayBufferView): void {
    ;(view as unknown as HeapView).#key = -(view as unknown as HeapView).#key
  }
}

const lengthOfArray = lengthGetter(Object.getPrototypeOf(Uint8Array.prototype))
const lengthOfDataView = lengthGetter(DataView.prototype)

/** Bytes of a view of any realm, as the engine has them. Its property `byteLength` may have been redefined. */
export function bytesOf(view: ArrayBufferView): number {
  return Reflect.apply(isDataView(view) ? lengthOfDataView : lengthOfArray, view, [])
}

function lengthGetter(prototype: object): () => number {
  return Reflect.getOwnPropertyDescriptor(prototype, 'byteLength')!.get as () => number
}
