import { inspect } from 'node:util'
import { AllocatorError, outOfRange, wrongType } from '../errors.ts'
import type { StructAccessors } from './accessors.ts'
import type { AnyStruct } from './shapes.ts'
import { FREED, type Views } from './views.ts'

/** What a record is to its block. */
export const enum Hold {
  /** A part of a record or of an array. */
  Part = 0,
  /** It starts the block, which belongs to somebody else. */
  Start = 1,
  /** It starts the block, and owns it. */
  Own = 2,
}

/** What records and cursors have in common. Names with a dollar are the library's own: no field can have one. */
export abstract class FieldsBase {
  /** @internal */ declare $v: Views
  /** @internal The offset in the views. */ abstract readonly $o: number
  /** @internal On the prototype. */ declare readonly $accessors: StructAccessors

  get address(): number {
    this.$v.checkedHeap()
    return this.$v.base + this.$o
  }

  assign(values: unknown): this {
    this.$accessors.assign(this.$v, this.$o, values)
    return this
  }

  deref(field: string): unknown {
    const { struct } = this.$accessors
    const shape = struct.fields[field]?.shape
    if (shape?.is !== 'pointer') throw outOfRange('field', 'one that is a pointer', field)
    const address = (this as unknown as Record<string, number>)[field]!
    return address === 0 ? null : targetOf(struct, shape.target).at(this.$v.checkedHeap(), address)
  }

  toJSON(): Record<string, unknown> {
    return this.$accessors.plain(this.$v, this.$o)
  }

  [inspect.custom](_depth: number, options: object): string {
    const { name } = this.$accessors.struct
    if (!this.$v.isLive) return `${name} (gone)`
    return `${name} ${inspect(this.toJSON(), options)}`
  }
}

/** The struct that a pointer leads to. */
function targetOf(struct: AnyStruct, target: string | (() => AnyStruct)): AnyStruct {
  if (typeof target === 'function') return target()
  if (target !== struct.name)
    throw outOfRange('a pointer by name', `to ${struct.name} itself; give others by a function`, target)
  return struct
}

/** A record: a place in memory that stays, with its fields as properties, which a class made for the struct adds. */
export abstract class RecordBase extends FieldsBase {
  /** @internal The same in units of the alignment that its class counts on. */ declare $e: number
  /** @internal */ declare $o: number
  /** @internal */ declare $w: Hold
  /** @internal Ends the parts that were read. */ abstract $end(reason: Views): void

  free(): void {
    const heap = this.$v.checkedHeap()
    const { address } = this
    if (this.$w === Hold.Part)
      throw new AllocatorError('ERR_HEAP_INVALID_ADDRESS', `the record at ${address} is a part of a block`, { address })
    heap.free(address)
    this.$end(FREED)
  }

  [Symbol.dispose](): void {
    if (this.$w === Hold.Own && this.$v.heap !== undefined) this.free()
  }
}

/** A place in an array that moves. How it does is in `MOVE`. */
export abstract class CursorBase extends FieldsBase {
  override get $o(): number {
    return this.$s + this.$i * this.$accessors.size
  }

  /** @internal Where the array starts in the views. */ declare readonly $s: number
  /** @internal */ declare readonly $i: number
}

/** The index, as an integer to V8, if it is one. `indices` has as many elements as it may have values. */
export function checkedIndex(views: Views, indices: Int8Array, index: number): number {
  if (typeof index !== 'number' || indices[index] === undefined) throw wrongIndex(views, index, indices.length)
  return index | 0
}

/** What to throw for an index that was refused: when what it is into is gone, all are. */
export function wrongIndex(views: Views, index: unknown, length: number): Error {
  views.check()
  return indexError(index, length)
}

/** What to throw for an index that isn't one. */
export function indexError(index: unknown, length: number): Error {
  if (typeof index !== 'number') return wrongType('index', 'a number', index)
  return outOfRange('index', `a whole number below the length, ${length}`, index)
}
