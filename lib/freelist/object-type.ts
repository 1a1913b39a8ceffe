import { checkCount, checkOptions, checkPointerOffsets, type OptionNames } from '../base/arguments.ts'
import { outOfRange, wrongType } from '../base/errors.ts'
import { MOST_HEAP_BYTES } from '../memory/page.ts'

/** An object's layout: its size in bytes, and the offsets of its references, which are 8 bytes each. */
export interface ObjectLayout {
  /** Bytes. */
  size: number
  /** Byte offsets of the references: multiples of 8 inside `size`. */
  references: readonly number[]
}

const LAYOUT: OptionNames<ObjectLayout> = { size: true, references: true }

/**
 * A type of objects. It tells the collector where the references in them are.
 * @example
 * ```ts
 * import { FreeListHeap } from 'spanheap/freelist'
 *
 * using heap = new FreeListHeap()
 * const Node = heap.mutator().defineType({ size: 24, references: [0, 8] })
 * console.log(Node.size, Node.references) // 24 [ 0, 8 ]
 * ```
 */
export class ObjectType {
  /** The number that is in the headers; 0 is no type. */
  readonly id: number
  /** Bytes of an object. */
  readonly size: number
  /** Byte offsets of the references, frozen. */
  readonly references: readonly number[]

  /** @internal See `Mutator.defineType`. */
  constructor(id: number, size: number, references: readonly number[]) {
    this.id = id
    this.size = size
    this.references = references
  }
}

/** The types of a heap. */
export class TypeTable {
  private readonly types: ObjectType[] = []

  define(layout: ObjectLayout): ObjectType {
    checkOptions(layout, LAYOUT, 'layout')
    const size = checkCount('layout.size', layout.size)
    if (size > MOST_HEAP_BYTES) throw outOfRange('layout.size', `at most ${MOST_HEAP_BYTES}`, size)
    const references = checkPointerOffsets('layout.references', layout.references, size)
    const type = new ObjectType(this.types.length + 1, size, Object.freeze(references))
    this.types.push(type)
    return type
  }

  /** The type of that number; undefined if there is none. */
  at(id: number): ObjectType | undefined {
    return this.types[id - 1]
  }

  /** @throws TypeError if it isn't a type of this heap */
  check(type: ObjectType): void {
    if (!(type instanceof ObjectType) || this.at(type.id) !== type) throw wrongType('type', 'a type of this heap', type)
  }
}
