import type { Address } from '../base/allocator.ts'
import { checkCount } from '../base/arguments.ts'
import { AllocatorError, outOfRange, wrongType } from '../base/errors.ts'
import { makePrintable, staysHere } from '../base/printed.ts'
import { Granule } from '../memory/page.ts'
import type { ViewMemory } from '../memory/view-memory.ts'
import type { Collector } from './collector.ts'
import { HeaderSize } from './object-header.ts'
import type { ObjectLayout, ObjectType } from './object-type.ts'

/** The heap, as a mutator needs it. */
export interface MutatorHeap {
  /** The memory that views are over. */
  readonly memory: ViewMemory
  readonly collector: Collector
  /** The block of a new object, all zero. @throws AllocatorError */
  allocateObject(type: ObjectType): number
  /** @throws AllocatorError `ERR_HEAP_CLOSED` */
  checkOpen(): void
}

/**
 * The mutator: through it the program allocates objects, and reads and writes references. So the collector knows what the program holds: an
 * object that a handle names lives until the handle is disposed, and so does everything reachable from it.
 * @example
 * ```ts
 * import { FreeListHeap } from 'spanheap/freelist'
 *
 * using heap = new FreeListHeap()
 * using mutator = heap.mutator()
 * const Node = mutator.defineType({ size: 16, references: [0] })
 * const list = mutator.allocate(Node)
 * using next = mutator.allocate(Node)
 * list.setReference(0, next)
 * next.dispose() // the list still leads to it
 * console.log(heap.collect()) // 0
 * list.dispose()
 * console.log(heap.collect() > 0) // true
 * ```
 */
export class Mutator implements Disposable {
  readonly #heap: MutatorHeap
  readonly #handles: Handles = new Map()

  /** @internal */
  readonly notCloneable = staysHere('a Mutator')

  static {
    makePrintable(Mutator, 'Mutator')
  }

  /** @internal See `FreeListHeap.mutator`. */
  constructor(heap: MutatorHeap) {
    this.#heap = heap
  }

  /** Makes a type known to the heap; all of its mutators may use it. */
  defineType(layout: ObjectLayout): ObjectType {
    this.#heap.checkOpen()
    return this.#heap.collector.types.define(layout)
  }

  /** A new object, all zero. May collect before. @throws AllocatorError `ERR_HEAP_OUT_OF_MEMORY` */
  allocate(type: ObjectType): Handle {
    this.#heap.collector.types.check(type)
    this.#heap.checkOpen()
    this.#heap.collector.addRoots(this.#handles)
    const block = this.#heap.allocateObject(type)
    return new Handle(this.#heap, this.#handles, block, type)
  }

  /** The summary that `JSON.stringify`, loggers and `console.log` show. */
  toJSON(): object {
    return { handles: this.#handles.size }
  }

  /** Disposes all of its handles, so that it holds nothing. It can be used again. */
  dispose(): void {
    this.#handles.clear()
    this.#heap.collector.removeRoots(this.#handles)
  }

  /** `dispose`, for `using`. */
  [Symbol.dispose](): void {
    this.dispose()
  }
}

/** The handles of a mutator that aren't disposed, and the blocks of their objects. */
type Handles = Map<Handle, number>

/**
 * An object that the program holds.
 * @example
 * ```ts
 * import { FreeListHeap } from 'spanheap/freelist'
 *
 * using heap = new FreeListHeap()
 * using mutator = heap.mutator()
 * const Node = mutator.defineType({ size: 16, references: [0] })
 * const list = mutator.allocate(Node)
 * using next = mutator.allocate(Node)
 * list.setReference(0, next)
 * next.dispose() // the list still leads to it
 * console.log(heap.collect()) // 0
 * list.dispose()
 * console.log(heap.collect() > 0) // true
 * ```
 */
export class Handle implements Disposable {
  /** The type of the object. */
  readonly type: ObjectType
  readonly #heap: MutatorHeap
  readonly #handles: Handles

  /** @internal */
  readonly notCloneable = staysHere('a Handle')

  static {
    makePrintable(Handle, 'Handle')
  }

  /** @internal See `Mutator.allocate`. */
  constructor(heap: MutatorHeap, handles: Handles, block: number, type: ObjectType) {
    this.#heap = heap
    this.#handles = handles
    this.type = type
    handles.set(this, block)
  }

  /** The object's address. It never changes. */
  get address(): Address {
    return addressOf(this.block())
  }

  /**
   * A new handle of the object that a reference field names, to be disposed too; null if it names none.
   * @throws RangeError if the type has no reference at that offset
   */
  getReference(offset: number): Handle | null {
    const block = this.block()
    const { collector } = this.#heap
    const target = collector.load(block, this.field(offset))
    return target === 0 ? null : new Handle(this.#heap, this.#handles, target, collector.typeOf(target))
  }

  /** Makes a reference field name another object of the heap, or none. */
  setReference(offset: number, target: Handle | null): void {
    const block = this.block()
    this.field(offset)
    if (target === null) {
      this.#heap.collector.store(block, offset, 0)
      return
    }
    if (!(target instanceof Handle)) throw wrongType('target', 'a handle or null', target)
    if (target.#heap !== this.#heap) throw invalid("the target is another heap's")
    this.#heap.collector.store(block, offset, target.block())
  }

  /** The object's bytes, without a copy; writing to its references there is at the program's own risk. */
  view(): Uint8Array {
    const address = addressOf(this.block())
    return new Uint8Array(this.#heap.memory.over(address, this.type.size), address, this.type.size)
  }

  /** The summary that `JSON.stringify`, loggers and `console.log` show. */
  toJSON(): object {
    return { type: this.type, isLive: this.#handles.has(this) }
  }

  /** Ends this handle's hold on the object. May be called again. */
  dispose(): void {
    this.#handles.delete(this)
  }

  /** `dispose`, for `using`. */
  [Symbol.dispose](): void {
    this.dispose()
  }

  private block(): number {
    this.#heap.checkOpen()
    const block = this.#handles.get(this)
    if (block === undefined) throw invalid('the handle was disposed')
    return block
  }

  private field(offset: number): number {
    checkCount('offset', offset)
    if (!this.type.references.includes(offset)) {
      throw outOfRange('offset', `where the type has a reference (${this.type.references.join(', ')})`, offset)
    }
    return offset
  }
}

function addressOf(block: number): Address {
  return (block + HeaderSize.Granules) * Granule.Bytes
}

function invalid(reason: string): AllocatorError {
  return new AllocatorError('ERR_HEAP_INVALID_ADDRESS', reason)
}
