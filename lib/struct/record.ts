import { createHash } from 'node:crypto'
import { inspect } from 'node:util'
import { AllocatorError, invalidValue, outOfRange, wrongType } from '../base/errors.ts'
import { hideFromCopies, printed } from '../base/printed.ts'
import * as Insides from './insides.ts'
import type { AnyStruct } from './record-types.ts'
import type { RecordType } from './shape.ts'
import { FREED, type Views } from './views.ts'

/** A record's relation to its block. */
export const enum Hold {
  /** A part of a record or of an array. */
  Part = 0,
  /** It starts the block, which has another owner. */
  Start = 1,
  /** It starts the block, and owns it. */
  Own = 2,
}

/** A record's view of its accessors: how the records of a struct are shown and written. */
export interface RecordAccessors {
  readonly struct: AnyStruct
  readonly fields: ReadonlyMap<string, unknown>
  /** A record as plain data. */
  plain(views: Views, offset: number): Record<string, unknown>
  /** The same for display: a field that can't be read shows the reason. */
  shown(views: Views, offset: number): Record<string, unknown>
  /** Writes the given fields. */
  assign(views: Views, offset: number, values: unknown): void
}

/** A part of a record that was read: it is made once, and then moved to where the record is. */
export interface Part {
  [Insides.place](views: Views, offset: number): void
  [Insides.end](reason: Views): void
}

/**
 * The end of the prototype chain of records and cursors. A store to a name that isn't a field arrives here, since nothing before has that
 * name.
 */
export const NoField: object = new Proxy(Object.prototype, {
  set(_, name) {
    throw invalidValue(`${String(name)} is no field of this struct`)
  },
})

/** The common base of records and cursors. */
export abstract class FieldsBase {
  abstract [Insides.views](): Views
  abstract [Insides.offset](): number
  abstract [Insides.accessors](): RecordAccessors

  get address(): number {
    const views = this[Insides.views]()
    views.checkedHeap()
    return views.base + this[Insides.offset]()
  }

  assign(values: unknown): this {
    this[Insides.accessors]().assign(this[Insides.views](), this[Insides.offset](), values)
    return this
  }

  deref(field: string): unknown {
    const { struct } = this[Insides.accessors]()
    const shape = struct.fields[field]?.shape
    if (shape?.is !== 'pointer') throw outOfRange('field', 'one that is a pointer', field)
    const address = (this as unknown as Record<string, number>)[field]!
    return address === 0 ? null : targetOf(struct, shape.target).at(this[Insides.views]().checkedHeap(), address)
  }

  /** @param key given by `JSON.stringify`: then the result is for a log, and nothing throws */
  toJSON(key?: string): Record<string, unknown> {
    const views = this[Insides.views]()
    if (key === undefined) return this[Insides.accessors]().plain(views, this[Insides.offset]())
    return views.isLive ? this[Insides.accessors]().shown(views, this[Insides.offset]()) : {}
  }

  [inspect.custom](_depth: number, options: object): string {
    return shownAs(this[Insides.accessors]().struct.name, this[Insides.views](), () => this.toJSON(''), options)
  }

  /** Its fields as text. It has no properties of its own, so assertions compare it by this. */
  get [Symbol.toStringTag](): string {
    return contentsOf(this[Insides.accessors]().struct.name, this[Insides.views](), () => this.toJSON(''))
  }
}
hideFromCopies(FieldsBase.prototype)
Object.setPrototypeOf(FieldsBase.prototype, NoField)

/** The fields' values; for a field that can't be read, the reason. */
export function readable(fields: readonly (readonly [name: string, read: () => unknown])[]): Record<string, unknown> {
  return Object.fromEntries(
    fields.map(([name, read]) => {
      try {
        return [name, read()]
      } catch (error) {
        return [name, String(error)]
      }
    })
  )
}

/** The text that `inspect` shows for an object in memory. */
export function shownAs(name: string, views: Views, facts: () => unknown, options: object): string {
  return views.isLive ? printed(name, facts, options) : `${name} (gone)`
}

/** Longer contents are replaced by their digest. */
const MOST_CONTENTS = 500
const ALL = { depth: Infinity, breakLength: Infinity, maxArrayLength: Infinity, maxStringLength: Infinity }

/** A name and all contents as text, which is the same only for the same contents. */
export function contentsOf(name: string, views: Views, facts: () => unknown): string {
  if (!views.isLive) return `${name} (gone)`
  const text = inspect(facts(), ALL)
  if (text.length <= MOST_CONTENTS) return `${name} ${text}`
  return `${name} ${text.slice(0, MOST_CONTENTS)}… (SHA-256 ${createHash('sha256').update(text).digest('hex')})`
}

/** The struct of a pointer's target. */
function targetOf(struct: AnyStruct, target: string | (() => RecordType)): RecordType {
  if (typeof target === 'function') return target()
  if (target !== struct.name)
    throw outOfRange('a pointer by name', `to ${struct.name} itself; give others by a function`, target)
  return struct
}

/** A record: a fixed place in memory. The class made for the struct adds its fields as properties. */
export abstract class RecordBase extends FieldsBase implements Part {
  abstract [Insides.hold](): Hold
  abstract [Insides.place](views: Views, offset: number): void
  abstract [Insides.end](reason: Views): void

  free(): void {
    freeBlock('record', this[Insides.views](), this[Insides.offset](), this[Insides.hold]())
    this[Insides.end](FREED)
  }

  [Symbol.dispose](): void {
    if (isToFree(this[Insides.views](), this[Insides.hold]())) this.free()
  }
}

/** Frees the block that a record, an array or columns start. @throws AllocatorError if they are a part of one, or it is gone */
export function freeBlock(what: string, views: Views, offset: number, hold: Hold): void {
  const heap = views.checkedHeap()
  const address = views.base + offset
  if (hold === Hold.Part)
    throw new AllocatorError('ERR_HEAP_INVALID_ADDRESS', `the ${what} at ${address} is a part of a block`, { address })
  heap.free(address)
}

/** Whether the end of a `using` block is to free it: if it is their own, and wasn't freed yet. */
export function isToFree(views: Views, hold: Hold): boolean {
  return hold === Hold.Own && views.heap !== undefined
}

/** A place in an array that moves, by `MOVE`. */
export abstract class CursorBase extends FieldsBase {}

/** The index, as an integer to V8, if it is valid. `indices` has as many elements as it may have values. */
export function checkedIndex(views: Views, indices: Int8Array, index: number): number {
  if (typeof index !== 'number' || indices[index] === undefined) throw wrongIndex(views, index, indices.length)
  return index | 0
}

/** The error for a refused index: if the memory is gone, every index is refused. */
export function wrongIndex(views: Views, index: unknown, length: number): Error {
  views.check()
  return indexError(index, length)
}

/** The error for an invalid index. */
export function indexError(index: unknown, length: number): Error {
  if (typeof index !== 'number') return wrongType('index', 'a number', index)
  return outOfRange('index', `a whole number below the length, ${length}`, index)
}
