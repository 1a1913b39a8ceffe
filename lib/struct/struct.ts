import { inspect } from 'node:util'
import { checkBoolean, checkChoice, checkCount, checkOptions, type OptionNames } from '../base/arguments.ts'
import { outOfRange, wrongType } from '../base/errors.ts'
import type { Heap } from '../heap/heap.ts'
import { StructAccessors } from './accessors.ts'
import type { Codec } from './codec.ts'
import type { Fields, FieldTypes } from './field-types.ts'
import type { Endian } from './kinds.ts'
import { checkFields, type Layout, layOut } from './layout.ts'
import { Hold } from './record.ts'
import type { AnyStruct, FieldValues, RecordMethods, StructRecord, Values } from './record-types.ts'
import type { Shape } from './shape.ts'
import { allocateArray, arrayBytes, arrayOver, checkHeap, type StructArray } from './struct-array.ts'
import { ColumnsTraits, StructColumns } from './struct-columns.ts'
import { blockViews, windowAt } from './views.ts'

/** Options of a struct. */
export interface StructOptions<Name extends string = string> {
  /**
   * The name of the struct in errors, tables and C headers, and for pointers to itself.
   * @default 'Struct'
   */
  name?: Name
  /**
   * True: there is no padding, and no field is aligned. Unaligned fields are read byte by byte.
   * @default false
   */
  packed?: boolean
  /**
   * The byte order of all fields that have none of their own.
   * @default 'native'
   */
  endian?: Endian | 'native'
}

const STRUCT_OPTIONS: OptionNames<StructOptions> = { name: true, packed: true, endian: true }

/**
 * A record type: fields, and their layout in memory. It is also a type of a field.
 * @example
 * ```ts
 * import { Heap } from 'spanheap'
 * import { f64, i32, struct } from 'spanheap/struct'
 *
 * using heap = new Heap()
 * const Order = struct({ price: f64, qty: i32 }, { name: 'Order' })
 * using order = Order.alloc(heap, { price: 9.5, qty: 3 })
 * order.qty += 1
 * console.log(order.price * order.qty) // 38
 * ```
 */
export class Struct<F extends Fields, Name extends string> implements AnyStruct {
  /** Its name in errors, tables and C headers, and for pointers to itself. */
  readonly name: Name
  /** Its fields, in the order in which they are in memory; frozen. */
  readonly fields: F
  /** Its shape as a field of another struct. */
  readonly shape: Shape
  /** For the compiler only; it doesn't exist at run time. */
  declare readonly types?: FieldTypes<FieldValues<F> & RecordMethods<F, Name>, Values<F>, 'parts'>
  readonly #laidOut: Layout
  readonly #byAlignment = new Map<number, StructAccessors>()
  #columnsTraits: ColumnsTraits | undefined

  /** @internal Use {@link struct}. */
  constructor(fields: F, options: StructOptions<Name>) {
    checkFields(fields)
    checkOptions(options, STRUCT_OPTIONS)
    const { name = 'Struct' as Name, endian } = options
    if (typeof name !== 'string') throw wrongType('name', 'a string', name)
    const order = checkChoice('endian', endian, ['native', 'little', 'big'], 'native')
    this.name = name
    this.fields = Object.freeze({ ...fields })
    this.shape = { is: 'struct', struct: this }
    this.#laidOut = layOut(
      name,
      fields,
      checkBoolean('packed', options.packed, false),
      order === 'native' ? undefined : order
    )
  }

  /** Where each field is. */
  layout(): Layout {
    return this.#laidOut
  }

  /** A record in a block of its own, which `free` or `using` frees. Its bytes are zero, except for the given values. */
  alloc(heap: Heap, values?: Values<F>): StructRecord<F, Name> {
    checkHeap(heap)
    const address = heap.calloc(1, this.#laidOut.size)
    const record = this.record(heap, address, Hold.Own)
    if (values === undefined) return record
    try {
      record.assign(values)
    } catch (error) {
      record.free()
      throw error
    }
    return record
  }

  /**
   * A record over an existing block: another worker has sent its address, say. `using` doesn't free the block, `free` does.
   * @throws AllocatorError if no live block starts at the address; RangeError `ERR_OUT_OF_RANGE` if it is too short
   */
  at(heap: Heap, address: number): StructRecord<F, Name> {
    checkHeap(heap)
    this.checkBlock(heap, address, this.#laidOut.size)
    return this.record(heap, address, Hold.Start)
  }

  /** `length` records in a block of their own: up to 2 GiB, all zeros. */
  array(heap: Heap, length: number): StructArray<F, Name> {
    return allocateArray(this.mainAccessors(), heap, length)
  }

  /** An array over an existing block. `using` doesn't free it, `free` does. @throws as {@link Struct.at} */
  arrayAt(heap: Heap, address: number, length: number): StructArray<F, Name> {
    checkHeap(heap)
    const bytes = arrayBytes(this.#laidOut.size, length)
    this.checkBlock(heap, address, bytes)
    return arrayOver(this.mainAccessors(), blockViews(heap, address, bytes), 0, length, Hold.Start)
  }

  /** `length` records as columns, in a block of their own: up to 2 GiB, all zeros. */
  columns(heap: Heap, length: number): StructColumns<F> {
    this.#columnsTraits ??= new ColumnsTraits(this)
    return new StructColumns(this.#columnsTraits, heap, length)
  }

  /** @internal */
  codec(alignment: number): Codec {
    const { Part, unitShift, plain, assign } = this.accessors(alignment)
    return { read: (views, offset) => new Part(views, offset >> unitShift, Hold.Part), write: assign, plain }
  }

  private accessors(alignment: number): StructAccessors {
    const useful = Math.min(alignment, this.#laidOut.alignment)
    let accessors = this.#byAlignment.get(useful)
    if (accessors === undefined) {
      accessors = new StructAccessors(this, useful)
      this.#byAlignment.set(useful, accessors)
    }
    return accessors
  }

  /** The summary that `JSON.stringify` and loggers show. */
  toJSON(): object {
    const { name, size, alignment, packed, fields } = this.#laidOut
    return {
      name,
      size,
      alignment,
      packed,
      offsets: Object.fromEntries(fields.map((field) => [field.name, field.offset])),
    }
  }

  /** The text that `console.log` shows: the table of its layout. */
  [inspect.custom](): string {
    return this.#laidOut.table()
  }

  /** `Struct`, also in `Object.prototype.toString`. */
  get [Symbol.toStringTag](): string {
    return 'Struct'
  }

  private mainAccessors(): StructAccessors {
    return this.accessors(this.#laidOut.alignment)
  }

  private record(heap: Heap, address: number, hold: Hold): StructRecord<F, Name> {
    const views = windowAt(heap, address)
    const { Part, unitShift } = this.mainAccessors()
    return new Part(views, (address - views.base) >> unitShift, hold) as unknown as StructRecord<F, Name>
  }

  private checkBlock(heap: Heap, address: number, bytes: number): void {
    const usable = heap.usableSize(checkCount('address', address))
    if (usable < bytes) throw outOfRange('address', `of a block of ${bytes} bytes or more`, `of one of ${usable}`)
  }
}

/** Declares a struct: its fields in the order in which they are in memory, laid out as a C compiler would. */
export function struct<const F extends Fields, const Name extends string = string>(
  fields: F,
  options: StructOptions<Name> = {}
): Struct<F, Name> {
  return new Struct(fields, options)
}
