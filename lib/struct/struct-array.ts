import { inspect } from 'node:util'
import { checkChoice, checkCount } from '../base/arguments.ts'
import { outOfRange } from '../base/errors.ts'
import { hideFromCopies, staysHere } from '../base/printed.ts'
import { Heap } from '../heap/heap.ts'
import { notAHeap } from '../tcmalloc/token.ts'
import type { StructAccessors } from './accessors.ts'
import { Column, type ValuesOf } from './column.ts'
import type { Fields } from './field-types.ts'
import * as Insides from './insides.ts'
import { MOST_ARRAY_BYTES } from './kinds.ts'
import { checkedIndex, freeBlock, Hold, isToFree, shownAs } from './record.ts'
import type { ReadOf, StructCursor, StructRecord, WriteOf } from './record-types.ts'
import { sortRecords } from './sort.ts'
import { blockViews, freedError, type Views } from './views.ts'

/** Elements that `inspect` shows. */
const SHOWN = 20
/** The length of the JSON text that `toJSON` gives, plus a record. */
const MOST_TOLD = 3000
/** The key under which the class compiled for a struct gets the array that checks an index. */
const INDICES = Symbol('indices')

/**
 * Records of one struct, one after the other in a block.
 * @example
 * ```ts
 * import { Heap } from 'spanheap'
 * import { f64, i32, struct } from 'spanheap/struct'
 *
 * using heap = new Heap()
 * const Trade = struct({ price: f64, qty: i32 }, { name: 'Trade' })
 * using trades = Trade.array(heap, 3)
 * const cursor = trades.cursor() // moves, and makes no objects
 * for (let i = 0; i < trades.length; i++) {
 *   cursor.index = i
 *   cursor.qty = 10 - i
 * }
 * trades.sort('qty')
 * console.log(trades.at(0).qty) // 8
 * ```
 */
export class StructArray<F extends Fields, Name extends string> implements Iterable<StructRecord<F, Name>>, Disposable {
  /** How many records. */
  readonly length: number
  /** @internal */ readonly notCloneable = staysHere('an array of records')
  readonly #accessors: StructAccessors
  readonly #views: Views
  /** Where it starts in the views. */
  readonly #start: number
  /** For checks of indices: see `MOVE`. */
  readonly #indices: Int8Array
  readonly #hold: Hold

  /** @internal */
  constructor(accessors: StructAccessors, views: Views, start: number, length: number, hold: Hold) {
    this.#accessors = accessors
    this.#views = views
    this.#start = start
    this.#indices = views.indices(start, length)
    this.length = length
    this.#hold = hold
  }

  /** Where it starts in the heap. */
  get address(): number {
    this.#views.checkedHeap()
    return this.#views.base + this.#start
  }

  /** The record at an index. @throws RangeError `ERR_OUT_OF_RANGE` if there is none */
  at(index: number): StructRecord<F, Name> {
    const { Part, size, unitShift } = this.#accessors
    const offset = this.#start + checkedIndex(this.#views, this.#indices, index) * size
    return new Part(this.#views, offset >> unitShift, Hold.Part) as unknown as StructRecord<F, Name>
  }

  /** Each record, as an object of its own. A loop with {@link StructArray.cursor} makes none. */
  *[Symbol.iterator](): Iterator<StructRecord<F, Name>> {
    for (let i = 0; i < this.length; i++) yield this.at(i)
  }

  /** A place in the array that moves, at index 0 first. */
  cursor(): StructCursor<F, Name> {
    this.#views.check()
    if (this.length === 0) throw outOfRange('length', 'above 0 for a cursor', 0)
    return new this.#accessors.Cursor(this.#views, this.#start, this.#indices) as unknown as StructCursor<F, Name>
  }

  /** One field of all records. */
  column<K extends keyof F & string>(field: K): Column<ReadOf<F[K]>, WriteOf<F[K]>, ValuesOf<F[K]>> {
    const { field: layout, codec } = this.#accessors.access(field)
    const { length } = this
    const views = this.#views
    views.check()
    const start = this.#start + layout.offset
    const { read, write } = codec
    return new Column(layout, { views, start, stride: this.#accessors.size, length, read, write })
  }

  /** The records from `from` to before `to`, without a copy. It becomes invalid together with this array. */
  subarray(from = 0, to = this.length): StructArray<F, Name> {
    const [first, end] = this.range(from, to)
    const start = this.#start + first * this.#accessors.size
    return arrayOver(this.#accessors, this.#views, start, end - first, Hold.Part)
  }

  /** A copy of the records from `from` to before `to`, in a block of its own. */
  slice(from = 0, to = this.length): StructArray<F, Name> {
    const [first, end] = this.range(from, to)
    const { size } = this.#accessors
    const { bytes } = this.#views
    const copy = allocateArray<F, Name>(this.#accessors, this.#views.checkedHeap(), end - first)
    copy.#views.u8.set(bytes.subarray(this.#start + first * size, this.#start + end * size))
    return copy
  }

  /** Sorts the records in place by a field that is a number, a bigint, a boolean, a name or text. Equal ones keep their order. */
  sort(field: keyof F & string, order: 'ascending' | 'descending' = 'ascending'): this {
    checkChoice('order', order, ['ascending', 'descending'], 'ascending')
    const { length } = this
    const start = this.#start
    const { size } = this.#accessors
    const { field: layout } = this.#accessors.access(field)
    sortRecords(layout, this.column(field), this.#views, { start, length, size }, order === 'descending')
    return this
  }

  /** Frees the block. @throws AllocatorError if it is a part of another array */
  free(): void {
    freeBlock('array', this.#views, this.#start, this.#hold)
    this.#views.end(freedError)
  }

  /** Frees the block if it is the array's own, and wasn't freed yet. */
  [Symbol.dispose](): void {
    if (isToFree(this.#views, this.#hold)) this.free()
  }

  /**
   * A copy of all records as plain data. `JSON.stringify` and loggers show less, since an array may have millions: as many records as fit
   * in some 3 KiB of JSON, and the number of the others.
   */
  toJSON(): Record<string, unknown>[]
  /** @internal @param key given by `JSON.stringify` */
  toJSON(key: string): unknown[]
  toJSON(key?: string): unknown[] {
    const { length } = this
    if (key === undefined) {
      const { plain, size } = this.#accessors
      return Array.from({ length }, (_, i) => plain(this.#views, this.#start + i * size))
    }
    const records: unknown[] = []
    if (!this.#views.isLive) return records
    for (let room = MOST_TOLD; records.length < length && room > 0; ) {
      const record = this.shown(records.length)
      room -= JSON.stringify(record).length
      records.push(record)
    }
    return records.length === length ? records : [...records, `and ${length - records.length} more`]
  }

  /** The text that `console.log` shows: the first records. */
  [inspect.custom](_depth: number, options: object): string {
    const title = `${this.#accessors.struct.name}[${this.length}]`
    const first = () => Array.from({ length: Math.min(SHOWN, this.length) }, (_, i) => this.shown(i))
    const more = this.length > SHOWN && this.#views.isLive ? ` and ${this.length - SHOWN} more` : ''
    return `${shownAs(title, this.#views, first, options)}${more}`
  }

  /** `StructArray`, also in `Object.prototype.toString`. */
  get [Symbol.toStringTag](): string {
    return 'StructArray'
  }

  /** @internal */
  [Insides.views](): Views {
    return this.#views
  }

  /** @internal */
  [Insides.offset](): number {
    return this.#start
  }

  /** @internal */
  [INDICES](): Int8Array {
    return this.#indices
  }

  private shown(index: number): Record<string, unknown> {
    return this.#accessors.shown(this.#views, this.#start + index * this.#accessors.size)
  }

  private range(from: number, to: number): [number, number] {
    if (checkCount('to', to) > this.length) throw outOfRange('to', `at most the length, ${this.length}`, to)
    if (checkCount('from', from) > to) throw outOfRange('from', `at most ${to}`, from)
    return [from, to]
  }
}

hideFromCopies(StructArray.prototype)

const classes = new WeakMap<StructAccessors, typeof StructArray>()

/** An array of its struct's class: `at` is compiled for each struct. */
export function arrayOver<F extends Fields, Name extends string>(
  accessors: StructAccessors,
  views: Views,
  start: number,
  length: number,
  hold: Hold
): StructArray<F, Name> {
  let Own = classes.get(accessors)
  if (Own === undefined) {
    Own =
      accessors.compiledArray(StructArray, INDICES) ??
      (class extends StructArray<Fields, string> {} as typeof StructArray)
    Object.defineProperty(Own, 'name', { value: StructArray.name })
    classes.set(accessors, Own)
  }
  return new Own(accessors, views, start, length, hold)
}

/** Checks that a heap is one. */
export function checkHeap(heap: unknown): asserts heap is Heap {
  if (!(heap instanceof Heap)) throw notAHeap(heap)
}

/** The bytes of an array; even an empty one has room for one record. @throws RangeError if they are more than 2 GiB */
export function arrayBytes(size: number, length: number): number {
  const bytes = checkCount('length', length) * size
  if (bytes > MOST_ARRAY_BYTES) {
    const most = Math.floor(MOST_ARRAY_BYTES / size)
    throw outOfRange('length', `at most ${most}: an array has up to 2 GiB`, length)
  }
  return Math.max(bytes, size)
}

/** An array in a block of its own, all zeros. */
export function allocateArray<F extends Fields, Name extends string>(
  accessors: StructAccessors,
  heap: Heap,
  length: number
): StructArray<F, Name> {
  checkHeap(heap)
  const bytes = arrayBytes(accessors.size, length)
  const address = heap.calloc(1, bytes)
  return arrayOver(accessors, blockViews(heap, address, bytes), 0, length, Hold.Own)
}
