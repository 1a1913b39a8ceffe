import { createHash } from 'node:crypto'
import { inspect } from 'node:util'
import { AllocatorError, invalidValue, outOfRange, wrongType } from '../base/errors.ts'
import { hideFromCopies, printed } from '../base/printed.ts'
import * as Insides from './insides.ts'
import type { AnyStruct } from './record-types.ts'
import type { RecordType } from './shape.ts'
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

/** How the records of a struct are shown and written: what they ask of the accessors that their class was made by. */
export interface RecordAccessors {
  readonly struct: AnyStruct
  readonly fields: ReadonlyMap<string, unknown>
  /** A record as plain data. */
  plain(views: Views, offset: number): Record<string, unknown>
  /** The same for what shows it: a field that can't be read says why. */
  shown(views: Views, offset: number): Record<string, unknown>
  /** Writes the fields that are given. */
  assign(views: Views, offset: number, values: unknown): void
}

/** A part of a record that was read: it is made once, and then put where the record is. */
export interface Part {
  [Insides.place](views: Views, offset: number): void
  [Insides.end](reason: Views): void
}

/** What the prototypes of records and cursors end with: a store to what isn't a field comes here, since nothing before knows its name. */
export const NoField: object = new Proxy(Object.prototype, {
  set(_, name) {
    throw invalidValue(`${String(name)} is no field of this struct`)
  },
})

/** What records and cursors have in common. */
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

  /** @param key what `JSON.stringify` gives: that is for whoever logs it, and doesn't throw */
  toJSON(key?: string): Record<string, unknown> {
    const views = this[Insides.views]()
    if (key === undefined) return this[Insides.accessors]().plain(views, this[Insides.offset]())
    return views.isLive ? this[Insides.accessors]().shown(views, this[Insides.offset]()) : {}
  }

  [inspect.custom](_depth: number, options: object): string {
    return shownAs(this[Insides.accessors]().struct.name, this[Insides.views](), () => this.toJSON(''), options)
  }

  /** It has no properties of its own, so this is what tells it from others for assertions: its fields. */
  get [Symbol.toStringTag](): string {
    return contentsOf(this[Insides.accessors]().struct.name, this[Insides.views](), () => this.toJSON(''))
  }
}
hideFromCopies(FieldsBase.prototype)
Object.setPrototypeOf(FieldsBase.prototype, NoField)

/** What fields say: one that can't be read, why. */
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

/** What `inspect` shows of what lies in memory. */
export function shownAs(name: string, views: Views, facts: () => unknown, options: object): string {
  return views.isLive ? printed(name, facts, options) : `${name} (gone)`
}

/** Longer contents are told by their digest. */
const MOST_CONTENTS = 500
const ALL = { depth: Infinity, breakLength: Infinity, maxArrayLength: Infinity, maxStringLength: Infinity }

/** A name and all that is there, as text that is the same for the same contents alone. */
export function contentsOf(name: string, views: Views, facts: () => unknown): string {
  if (!views.isLive) return `${name} (gone)`
  const text = inspect(facts(), ALL)
  if (text.length <= MOST_CONTENTS) return `${name} ${text}`
  return `${name} ${text.slice(0, MOST_CONTENTS)}… (SHA-256 ${createHash('sha256').update(text).digest('hex')})`
}

/** The struct that a pointer leads to. */
function targetOf(struct: AnyStruct, target: string | (() => RecordType)): RecordType {
  if (typeof target === 'function') return target()
  if (target !== struct.name)
    throw outOfRange('a pointer by name', `to ${struct.name} itself; give others by a function`, target)
  return struct
}

/** A record: a place in memory that stays, with its fields as properties, which a class made for the struct adds. */
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

/** Gives back the block that a record, an array or columns start. @throws AllocatorError where they are a part of one, or it is gone */
export function freeBlock(what: string, views: Views, offset: number, hold: Hold): void {
  const heap = views.checkedHeap()
  const address = views.base + offset
  if (hold === Hold.Part)
    throw new AllocatorError('ERR_HEAP_INVALID_ADDRESS', `the ${what} at ${address} is a part of a block`, { address })
  heap.free(address)
}

/** Whether the end of a `using` block is to give it back: where it is their own, and wasn't given back yet. */
export function isToFree(views: Views, hold: Hold): boolean {
  return hold === Hold.Own && views.heap !== undefined
}

/** A place in an array that moves. How it does is in `MOVE`. */
export abstract class CursorBase extends FieldsBase {}

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
