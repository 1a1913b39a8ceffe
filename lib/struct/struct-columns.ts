import { inspect } from 'node:util'
import { hideFromCopies, makePrintable, staysHere } from '../base/printed.ts'
import type { Heap } from '../heap/heap.ts'
import { accessIn, type ClassCode, entriesOf, isPart, type Member, MOVE, makeClass } from './accessors.ts'
import { alignmentAt, type Codec } from './codec.ts'
import { codecOfField } from './codecs.ts'
import { Column, kindOf, type ValuesOf } from './column.ts'
import { type Access, bodyOf } from './emit.ts'
import type { Fields } from './field-types.ts'
import * as Insides from './insides.ts'
import { NUMBERS } from './kinds.ts'
import { extentOf } from './layout.ts'
import { contentsOf, freeBlock, Hold, indexError, isToFree, NoField, readable, shownAs } from './record.ts'
import type { AnyStruct, ColumnsCursor, ReadOf, WriteOf } from './record-types.ts'
import type { FieldLayout } from './shape.ts'
import { arrayBytes, checkHeap } from './struct-array.ts'
import { blockViews, freedError, type Views } from './views.ts'

/** Columns start at multiples of a cache line. */
const LINE_BYTES = 64

/** The column's type for a field type. */
export type ColumnOf<Type> =
  ValuesOf<Type> extends undefined
    ? Column<ReadOf<Type>, WriteOf<Type>>
    : ValuesOf<Type> | Column<ReadOf<Type>, WriteOf<Type>>

/** A field in columns: its values lie side by side. */
interface ColumnTraits {
  readonly field: FieldLayout
  readonly codec: Codec
  readonly stride: number
}

/** The common properties of all columns of a struct. */
export class ColumnsTraits {
  readonly struct: AnyStruct
  readonly columns: ReadonlyMap<string, ColumnTraits>
  private cursorClass: (new (views: Views, offset: number, place: CursorPlace) => ColumnsCursorBase) | undefined

  constructor(struct: AnyStruct) {
    this.struct = struct
    this.columns = new Map(struct.layout().fields.map((field) => [field.name, this.columnOf(field)]))
  }

  get Cursor(): NonNullable<typeof this.cursorClass> {
    this.cursorClass ??= this.makeCursor()
    return this.cursorClass
  }

  /** The plain data of each field of a record. */
  plain(views: Views, index: number, { starts }: CursorPlace): (readonly [name: string, read: () => unknown])[] {
    const columns = [...this.columns]
    return columns.map(([name, { codec, stride }], i) => [name, () => codec.plain(views, starts[i]! + index * stride)])
  }

  private columnOf(original: FieldLayout): ColumnTraits {
    const stride = extentOf(original.shape).size
    // In a column, a bit field has an integer of its own.
    const bits = original.bits === undefined ? {} : { bits: { first: 0, width: original.bits.width } }
    const { name, shape, alignment } = original
    const field = { name, shape, alignment, offset: 0, size: stride, ...bits }
    const place = { name, alignment: alignmentAt(LINE_BYTES, stride) }
    return { field, codec: codecOfField(field, place), stride }
  }

  private makeCursor(): NonNullable<typeof this.cursorClass> {
    const columns = [...this.columns.values()]
    const members = columns.map(({ field, codec, stride }, i): Member => {
      const start = `this.#b${i}`
      const access: Access = (kind, delta) => {
        const { size } = NUMBERS[kind]
        const shift = Math.log2(size)
        return stride === size
          ? `(${start} >> ${shift}) + this.#i`
          : `${start} + Math.imul(this.#i, ${stride}) + ${delta} >> ${shift}`
      }
      return {
        name: field.name,
        codec,
        isPart: isPart(field),
        at: `${start} + Math.imul(this.#i, ${stride})`,
        offset: ({ index, third }) => (third as CursorPlace).starts[i]! + index * stride,
        body: bodyOf(field, alignmentAt(LINE_BYTES, stride), access),
      }
    })
    const starts = columns.map((_, i) => [`b${i}`, `w.starts[${i}]`])
    const fields = { a: 'v.indices(0, w.length)', i: '0', w: 'w', ...Object.fromEntries(starts) }
    const code: ClassCode = {
      fields,
      methods: `${MOVE}
  [Insides.offset]() { return this.#i }
  [Insides.hold]() { return this.#w }`,
      stores: 'once',
      unitShift: 0,
      indices: (views, third) => views.indices(0, (third as CursorPlace).length),
      offset: ({ index }) => index,
    }
    const made = makeClass(ColumnsCursorBase, code, members)
    Object.defineProperty(made.prototype, TRAITS, { value: () => this })
    return made as unknown as NonNullable<typeof this.cursorClass>
  }
}

interface CursorPlace {
  readonly length: number
  readonly starts: readonly number[]
}

/** The key under which a cursor's prototype has the columns of its struct. */
const TRAITS = Symbol('traits')

/** A place in columns that moves. Its offset is its index; it is made with the place where the columns start. */
abstract class ColumnsCursorBase {
  abstract [Insides.views](): Views
  abstract [Insides.offset](): number
  abstract [Insides.hold](): CursorPlace
  abstract [TRAITS](): ColumnsTraits

  assign(values: unknown): this {
    const { struct, columns } = this[TRAITS]()
    for (const [name, value] of entriesOf(struct.name, values)) {
      accessIn(columns, name)
      ;(this as unknown as Record<string, unknown>)[name] = value
    }
    return this
  }

  toJSON(key?: string): Record<string, unknown> {
    const views = this[Insides.views]()
    if (key !== undefined && !views.isLive) return {}
    const fields = this[TRAITS]().plain(views, this[Insides.offset](), this[Insides.hold]())
    return key === undefined ? Object.fromEntries(fields.map(([name, read]) => [name, read()])) : readable(fields)
  }

  [inspect.custom](_depth: number, options: object): string {
    return shownAs(this[TRAITS]().struct.name, this[Insides.views](), () => this.toJSON(''), options)
  }

  get [Symbol.toStringTag](): string {
    return contentsOf(this[TRAITS]().struct.name, this[Insides.views](), () => this.toJSON(''))
  }
}

hideFromCopies(ColumnsCursorBase.prototype)
Object.setPrototypeOf(ColumnsCursorBase.prototype, NoField)

/**
 * Records of one struct as columns: all values of a field side by side, in one block. For loops that use a few of many fields.
 * @example
 * ```ts
 * import { Heap } from 'spanheap'
 * import { f64, i32, struct } from 'spanheap/struct'
 *
 * using heap = new Heap()
 * const Trade = struct({ price: f64, qty: i32 }, { name: 'Trade' })
 * using trades = Trade.columns(heap, 1000)
 * const cursor = trades.cursor()
 * for (let i = 0; i < trades.length; i++) cursor.move(i).price = i / 4
 * console.log(trades.cursor().move(999).price) // 249.75
 * ```
 */
export class StructColumns<F extends Fields> implements Disposable {
  /** How many records. */
  readonly length: number
  /** @internal */ readonly notCloneable = staysHere('an array of columns')
  readonly #traits: ColumnsTraits
  readonly #views: Views
  readonly #starts: readonly number[]

  static {
    makePrintable(StructColumns, 'StructColumns')
  }

  /** @internal A block of its own, all zeros. */
  constructor(traits: ColumnsTraits, heap: Heap, length: number) {
    checkHeap(heap)
    const starts: number[] = []
    let end = 0
    for (const { stride } of traits.columns.values()) {
      starts.push(end)
      end = Math.ceil((end + arrayBytes(stride, length)) / LINE_BYTES) * LINE_BYTES
    }
    const bytes = arrayBytes(1, end)
    this.#traits = traits
    this.length = length
    this.#starts = starts
    this.#views = blockViews(heap, heap.calloc(1, bytes), bytes)
  }

  /** Its address in the heap. */
  get address(): number {
    this.#views.checkedHeap()
    return this.#views.base
  }

  /**
   * All values of a field. For a number in the machine's byte order it is a typed array, where nothing is checked, not even whether the
   * memory was freed. For any other field it is a {@link Column}.
   */
  column<K extends keyof F & string>(name: K): ColumnOf<F[K]> {
    const { field, codec, stride } = accessIn(this.#traits.columns, name)
    const { length } = this
    const views = this.#views
    views.check()
    const start = this.#starts[[...this.#traits.columns.keys()].indexOf(name)]!
    const kind = kindOf(field)
    if (kind !== undefined && field.bits === undefined)
      return views[kind].subarray(start / stride, start / stride + length) as unknown as ColumnOf<F[K]>
    const { read, write } = codec
    return new Column(field, { views, start, stride, length, read, write }) as ColumnOf<F[K]>
  }

  /** The summary that `JSON.stringify`, loggers and `console.log` show. */
  toJSON(): object {
    return { struct: this.#traits.struct.name, length: this.length, columns: [...this.#traits.columns.keys()] }
  }

  /** A place in the columns that moves, at index 0 first. */
  cursor(): ColumnsCursor<F> {
    this.#views.check()
    if (this.length === 0) throw indexError(0, 0)
    return new this.#traits.Cursor(this.#views, 0, {
      length: this.length,
      starts: this.#starts,
    }) as unknown as ColumnsCursor<F>
  }

  /** Frees the block. */
  free(): void {
    freeBlock('array', this.#views, 0, Hold.Own)
    this.#views.end(freedError)
  }

  /** For `using`: `free`, unless that was called. */
  [Symbol.dispose](): void {
    if (isToFree(this.#views, Hold.Own)) this.free()
  }
}
