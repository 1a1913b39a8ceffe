import { makePrintable, staysHere } from '../base/printed.ts'
import type { NumberType } from './field-types.ts'
import { isForeign, NUMBERS, type NumberKind } from './kinds.ts'
import { indexError } from './record.ts'
import type { FieldLayout } from './shape.ts'
import type { Views } from './views.ts'

/** The typed array of each kind of number. */
export interface ArrayByKind {
  /** Signed bytes. */
  i8: Int8Array
  /** Unsigned bytes. */
  u8: Uint8Array
  /** Signed integers of 16 bits. */
  i16: Int16Array
  /** Unsigned integers of 16 bits. */
  u16: Uint16Array
  /** Signed integers of 32 bits. */
  i32: Int32Array
  /** Unsigned integers of 32 bits. */
  u32: Uint32Array
  /** Signed integers of 64 bits, as bigints; with `safe` too. */
  i64: BigInt64Array
  /** Unsigned integers of 64 bits, as bigints; with `safe` too. */
  u64: BigUint64Array
  /** Numbers of 32 bits. */
  f32: Float32Array
  /** Numbers of 64 bits. */
  f64: Float64Array
}

/** The typed array of a field type's column; undefined if the field isn't one number. */
export type ValuesOf<Type> = Type extends NumberType<number | bigint, infer Kind> ? ArrayByKind[Kind] : undefined

/** The place of a column in memory. */
export interface ColumnPlace {
  readonly views: Views
  /** Offset of the first value in the views. */
  readonly start: number
  /** Bytes from one value to the next. */
  readonly stride: number
  readonly length: number
  readonly read: (views: Views, offset: number) => unknown
  readonly write: (views: Views, offset: number, value: unknown) => void
}

/** The place of the column that is being made; nothing else keeps it. */
let placed: ColumnPlace | undefined

/** Runs before a column's fields are set. Each is set once, where it is declared, as in a heap. */
class Placing {
  /** How many values: as many as the array has records. */
  readonly length: number
  /** @internal */
  readonly notCloneable: symbol

  constructor(place: ColumnPlace) {
    this.length = place.length
    this.notCloneable = staysHere('a Column')
    placed = place
  }
}

/**
 * One field of all records of an array: a typed array with gaps.
 * @example
 * ```ts
 * import { Heap } from 'spanheap'
 * import { f64, i32, struct } from 'spanheap/struct'
 *
 * using heap = new Heap()
 * const Trade = struct({ price: f64, qty: i32 }, { name: 'Trade' })
 * using trades = Trade.array(heap, 3)
 * trades.at(1).price = 2.5
 * const { values, first, step, length } = trades.column('price')
 * let sum = 0
 * if (values !== undefined) for (let i = 0; i < length; i++) sum += values[first + i * step]!
 * console.log(sum) // 2.5
 * ```
 */
export class Column<Read = unknown, Write = Read, Values = unknown> extends Placing implements Iterable<Read> {
  readonly #place = placed!
  #values: Values | undefined
  #first = 0
  #step = 0

  static {
    makePrintable(Column, 'Column')
  }

  /** @internal See `StructArray.column` and `StructColumns.column`. */
  constructor(field: FieldLayout, place: ColumnPlace) {
    super(place)
    placed = undefined
    const kind = kindOf(field)
    if (kind === undefined) return
    const { views, start, stride } = place
    const { size } = NUMBERS[kind]
    if (start % size !== 0 || stride % size !== 0) return
    this.#values = views[kind] as Values
    this.#first = start / size
    this.#step = stride / size
  }

  /**
   * For loops that must be fast: value `i` is `values[first + i * step]`. Undefined if the field is no number that a typed array can have:
   * in the other byte order, not aligned, of some bits, or no number at all. Nothing is checked, not even whether the memory was freed.
   */
  get values(): Values | undefined {
    return this.#values
  }

  /** The index in `values` of value 0; 0 if there are no `values`. */
  get first(): number {
    return this.#first
  }

  /** How much the index in `values` rises from one value to the next; 0 if there are no `values`. */
  get step(): number {
    return this.#step
  }

  /** Value `index`. @throws RangeError `ERR_OUT_OF_RANGE`; AllocatorError `ERR_HEAP_STALE_HANDLE` */
  get(index: number): Read {
    const { views, read } = this.#place
    return read(views, this.offsetOf(index)) as Read
  }

  /** Writes value `index`, checked like a record's field. @throws as {@link Column.get}, and the errors of that field */
  set(index: number, value: Write): void {
    const { views, write } = this.#place
    write(views, this.offsetOf(index), value)
  }

  /** All values, in order. */
  *[Symbol.iterator](): Iterator<Read> {
    for (let i = 0; i < this.length; i++) yield this.get(i)
  }

  /** The summary that `JSON.stringify`, loggers and `console.log` show. */
  toJSON(): object {
    return { length: this.length }
  }

  private offsetOf(index: number): number {
    if (!(index >= 0 && index < this.length && (index | 0) === index)) throw indexError(index, this.length)
    return this.#place.start + index * this.#place.stride
  }
}

/** The kind of typed array that a field's values can be read from. */
export function kindOf({ shape }: FieldLayout): NumberKind | undefined {
  return shape.is === 'number' && !isForeign(shape.endian) ? shape.kind : undefined
}
