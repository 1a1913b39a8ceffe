import { types } from 'node:util'
import { outOfRange, wrongType } from '../base/errors.ts'
import { hideFromCopies } from '../base/printed.ts'
import { checkBits, checkPointer, checkSafe, FITS, numberError, unsafe } from './checks.ts'
import { alignmentAt, type Codec } from './codec.ts'
import { codecOfField } from './codecs.ts'
import { type Access, type Body, bodyOf, never } from './emit.ts'
import * as Insides from './insides.ts'
import { NUMBERS } from './kinds.ts'
import {
  CursorBase,
  checkedIndex,
  type Hold,
  type Part,
  type RecordAccessors,
  RecordBase,
  readable,
  wrongIndex,
} from './record.ts'
import type { AnyStruct } from './record-types.ts'
import type { FieldLayout } from './shape.ts'
import type { Views } from './views.ts'

type Base = abstract new () => object
type Made = new (views: Views, offset: number, third: unknown) => object

/** The names that generated code may use. */
const HELPERS = {
  FITS,
  Insides,
  checkBits,
  checkPointer: (name: string, _kind: string, value: unknown) => checkPointer(name, value),
  checkSafe,
  lost: (views: Views) => views.lose(),
  numberError,
  unsafe,
  wrongIndex,
  wrongType,
}

/** Compiles text that may use {@link HELPERS} and the given values as constants, so that V8 knows them; undefined if compiling is forbidden. */
function compile(given: Readonly<Record<string, unknown>>, text: string): unknown {
  const constants = { ...HELPERS, ...given }
  const names = Object.keys(constants).join(', ')
  try {
    return new Function('constants', `'use strict'; const { ${names} } = constants; ${text}`)(constants)
  } catch (error) {
    if (types.isNativeError(error) && error.name === 'EvalError') return undefined
    throw error
  }
}

/** A field with its codec. */
export interface FieldAccess {
  readonly field: FieldLayout
  readonly codec: Codec
}

/** How the records of a struct are read and written if their offsets are multiples of `alignment`. */
export class StructAccessors implements RecordAccessors {
  readonly struct: AnyStruct
  readonly alignment: number
  readonly size: number
  readonly fields: ReadonlyMap<string, FieldAccess>
  /** Records store their place in units of the alignment: an offset is shifted by this many bits. */
  readonly unitShift: number
  /** The class of records; `unit` is the offset in units of the alignment. */
  readonly Part: new (
    views: Views,
    unit: number,
    hold: number
  ) => RecordBase
  private cursorClass: (new (views: Views, start: number, indices: Int8Array) => CursorBase) | undefined

  constructor(struct: AnyStruct, alignment: number) {
    const layout = struct.layout()
    this.struct = struct
    this.alignment = alignment
    this.size = layout.size
    this.unitShift = Math.log2(alignment)
    const access = (field: FieldLayout) => {
      const place = { name: field.name, alignment: alignmentAt(alignment, field.offset) }
      return { field, codec: codecOfField(field, place) }
    }
    this.fields = new Map(layout.fields.map((field) => [field.name, access(field)]))
    this.plain = this.plain.bind(this)
    this.assign = this.assign.bind(this)
    this.Part = this.make(
      RecordBase,
      recordCode(this.unitShift),
      `(this.#e << ${this.unitShift})`,
      recordAccess(this.unitShift)
    ) as typeof this.Part
  }

  /** The class of cursors over arrays. */
  get Cursor(): new (
    views: Views,
    start: number,
    indices: Int8Array
  ) => CursorBase {
    this.cursorClass ??= this.makeCursor()
    return this.cursorClass
  }

  /**
   * A class of arrays whose `at` serves this struct alone, since V8 doesn't inline a function that makes records of many structs. Undefined
   * if code may not be made from strings. Its fields are stored once: then V8 treats them as constants.
   */
  compiledArray<Class extends object>(Base: Class, indices: symbol): Class | undefined {
    const text = `return class extends Base {
      #v = this[Insides.views](); #s = this[Insides.offset](); #a = this[indices]()
      at(x) {
        if (${NO_INDEX}) throw wrongIndex(this.#v, x, this.#a.length)
        return new Part(this.#v, (this.#s >> ${this.unitShift}) + Math.imul(x, ${this.size / this.alignment}) | 0, 0)
      }
    }`
    return compile({ Part: this.Part, Base, indices }, text) as Class | undefined
  }

  /** A record as plain data. */
  plain(views: Views, offset: number): Record<string, unknown> {
    const plain: Record<string, unknown> = {}
    for (const [name, { field, codec }] of this.fields) plain[name] = codec.plain(views, offset + field.offset)
    return plain
  }

  /** The same for display: a field that can't be read shows the reason. */
  shown(views: Views, offset: number): Record<string, unknown> {
    const fields = [...this.fields]
    return readable(fields.map(([name, { field, codec }]) => [name, () => codec.plain(views, offset + field.offset)]))
  }

  /** Writes the given fields. */
  assign(views: Views, offset: number, values: unknown): void {
    for (const [name, value] of entriesOf(this.struct.name, values)) {
      const { field, codec } = this.access(name)
      codec.write(views, offset + field.offset, value)
    }
  }

  /** A field by name. @throws RangeError `ERR_OUT_OF_RANGE` if there is none */
  access(name: string): FieldAccess {
    return accessIn(this.fields, name)
  }

  private makeCursor(): NonNullable<typeof this.cursorClass> {
    const { size } = this
    // Only the index varies: so an access in a loop is the same as with a typed array, i * step + first.
    const access: Access = (kind, delta) => {
      const unit = NUMBERS[kind].size
      return `(this.#s >> ${Math.log2(unit)}) + Math.imul(this.#i, ${size / unit}) + ${delta / unit} | 0`
    }
    return this.make(CursorBase, cursorCode(size), `this.#s + Math.imul(this.#i, ${size})`, access) as never
  }

  private make(base: Base, code: ClassCode, start: string, access: Access): Made {
    const members = [...this.fields.values()].map(({ field, codec }) => ({
      name: field.name,
      codec,
      isPart: isPart(field),
      at: `${start} + ${field.offset}`,
      offset: (place: Place) => code.offset(place) + field.offset,
      body: bodyOf(field, this.alignment, access),
    }))
    const made = makeClass(base, code, members)
    Object.defineProperty(made.prototype, Insides.accessors, { value: () => this })
    Object.defineProperty(made, 'name', { value: this.struct.name })
    return made
  }
}

/**
 * Access to the fields of a record, as elements of the views. An offset in bytes would need a shift to the right, which V8 can't merge with
 * the multiplication by which `StructArray.at` computes it.
 */
function recordAccess(unitShift: number): Access {
  return (kind, delta) => {
    const { size } = NUMBERS[kind]
    return `(this.#e << ${unitShift - Math.log2(size)}) + ${delta / size} | 0`
  }
}

/** Whether reads give an object with parts: it is made once, and then moved to where the record is. */
export function isPart({ shape }: FieldLayout): boolean {
  return shape.is === 'struct' || shape.is === 'array'
}

/** A field by name. */
export function accessIn<T>(fields: ReadonlyMap<string, T>, name: unknown): T {
  if (typeof name !== 'string') throw wrongType('field', 'a string', name)
  const access = fields.get(name)
  if (access === undefined) throw outOfRange('field', `one of ${[...fields.keys()].join(', ')}`, name)
  return access
}

/** The given fields; an undefined one doesn't count. */
export function entriesOf(name: string, values: unknown): [string, unknown][] {
  if (typeof values !== 'object' || values === null) throw wrongType(name, 'an object', values)
  const plain =
    values instanceof RecordBase || values instanceof CursorBase ? recordEntries(values) : Object.entries(values)
  return plain.filter(([, value]) => value !== undefined)
}

function recordEntries(record: RecordBase | CursorBase): [string, unknown][] {
  return [...record[Insides.accessors]().fields.keys()].map((name) => [
    name,
    (record as unknown as Record<string, unknown>)[name],
  ])
}

/** The place of an object whose class was put together from functions. */
export interface Place {
  views: Views
  /** Offset of its first byte in the views, or of an array's. */
  start: number
  index: number
  /** An array with as many elements as `index` may have values. */
  readonly indices: Int8Array | undefined
  readonly third: unknown
}

/** The parts of a class other than its fields. In code, its constructor's arguments are `v`, `o` (its place) and `w`. */
export interface ClassCode {
  /** Private fields, beside `#v`, each with its first value. */
  readonly fields: Readonly<Record<string, string>>
  /** How its private fields get their first values. */
  readonly stores: 'once' | 'in constructor'
  readonly methods: string
  /** `o` is in units: it is shifted by this many bits. */
  readonly unitShift: number
  /** If it has an index: the elements that check the index. */
  readonly indices: ((views: Views, third: unknown) => Int8Array) | undefined
  /** The offset of an object that was put together from functions. */
  offset(place: Place): number
}

/**
 * Code for whether `x` is no index. `#a` has as many elements as there are records. V8 compiles a load from it to the check of the index
 * alone, one comparison. And since the error is thrown outside the loop, V8 can move constant work out of the loop, from Node 22 on. A
 * branch that throws prevents that: with one, each access took twice as long, and in loops that are compiled while they run each sum of
 * doubles was an object.
 */
const NO_INDEX = `${never("typeof x !== 'number'")} || this.#a[x] === undefined`

/** How cursors move. Each class has functions of its own, since V8 keeps its type feedback by function. */
export const MOVE = `
  move(x) {
    if (${NO_INDEX}) throw wrongIndex(this.#v, x, this.#a.length)
    this.#i = x | 0
    return this
  }
  get index() { return this.#i }
  set index(x) {
    if (${NO_INDEX}) throw wrongIndex(this.#v, x, this.#a.length)
    this.#i = x | 0
  }`

function recordCode(unitShift: number): ClassCode {
  return {
    fields: { e: 'o', w: 'w' },
    stores: 'in constructor',
    methods: `
  [Insides.offset]() { return this.#e << ${unitShift} }
  [Insides.hold]() { return this.#w }
  [Insides.place](v, o) { this.#v = v; this.#e = o >> ${unitShift} }`,
    unitShift,
    indices: undefined,
    offset: ({ start }) => start,
  }
}

function cursorCode(size: number): ClassCode {
  return {
    fields: { s: 'o', a: 'w', i: '0' },
    stores: 'once',
    methods: `${MOVE}
  [Insides.offset]() { return this.#s + Math.imul(this.#i, ${size}) }`,
    unitShift: 0,
    indices: (_, third) => third as Int8Array,
    offset: ({ start, index }) => start + index * size,
  }
}

/** A field as a member of a class. */
export interface Member {
  readonly name: string
  readonly codec: Codec
  readonly isPart: boolean
  /** Code for its offset in the views, and the same as a function. */
  readonly at: string
  offset(place: Place): number
  readonly body: Body | undefined
}

/**
 * A class with a property for each field. It is compiled from text, so that offsets are literals in it, and V8 optimizes each struct by its
 * own use. If compiling is forbidden, the class is put together from functions, which do the same and are slower.
 */
export function makeClass(base: Base, code: ClassCode, members: readonly Member[]): Made {
  const codecs = members.map(({ codec }) => codec)
  const made = compile({ codecs }, textOf(code, members)) as Made | undefined
  // Doesn't extend another class: its constructor would look for the other's at every call.
  if (made !== undefined) Object.setPrototypeOf(made.prototype, base.prototype)
  const used = made ?? assemble(base, code, members)
  hideFromCopies(
    used.prototype,
    members.map(({ name }) => name)
  )
  return used
}

function textOf(code: ClassCode, members: readonly Member[]): string {
  const parts = members.flatMap(({ isPart }, i) => (isPart ? [`#p${i}`] : []))
  const fields = Object.entries({ v: 'v', ...code.fields })
  const properties = members.map(({ name, isPart, at, body }, i) => {
    const read = `codecs[${i}].read(this.#v, ${at})`
    const get = isPart
      ? `const y = this.#p${i}; if (y === undefined) return this.#p${i} = ${read}; y[Insides.place](this.#v, ${at}); return y`
      : (body?.get ?? `return ${read}`)
    return `
      get ${name}() { ${get} }
      set ${name}(x) { ${body?.set ?? `codecs[${i}].write(this.#v, ${at}, x)`} }`
  })
  return `${headOf(code.stores, fields, parts)}
      ${code.methods}
      ${properties.join('')}
      [Insides.views]() { return this.#v }
      [Insides.end](x) { this.#v = x; ${parts.map((part) => `this.${part}?.[Insides.end](x)`).join('; ')} }
    }`
}

/**
 * The beginning of a class's text: its private fields, and the constructor. V8 treats a field as a constant if it was stored only once, and
 * an access to a cursor that is a constant itself then takes half as long. But a field without a value at its declaration holds undefined
 * until the constructor stores another. So the values have to exist before the object does, in variables beside the class. That makes the
 * object slow to make: records use the other way, since `StructArray.at` makes one at each call.
 */
function headOf(stores: ClassCode['stores'], fields: readonly (readonly [string, string])[], parts: readonly string[]) {
  if (stores === 'in constructor')
    return `return class {
      ${[...fields.map(([name]) => `#${name}`), ...parts].join('; ')}
      constructor(v, o, w) { ${fields.map(([name, first]) => `this.#${name} = ${first}`).join('; ')} }`
  return `let v, o, w
    const keep = function (views, place, third) { v = views; o = place; w = third }
    return class extends keep {
      ${[...fields.map(([name, first]) => `#${name} = ${first}`), ...parts].join('; ')}
      constructor(views, place, third) { super(views, place, third); v = w = undefined }`
}

function assemble(base: Base, code: ClassCode, members: readonly Member[]): Made {
  return class Assembled extends (base as new () => object) {
    readonly #place: Place
    readonly #parts = new Map<Member, Part>()

    constructor(views: Views, start: number, third: unknown) {
      super()
      const indices = code.indices?.(views, third)
      this.#place = { views, start: start << code.unitShift, index: 0, indices, third }
    }

    static {
      const { prototype } = Assembled
      for (const member of members) {
        const { name, codec, isPart, offset } = member
        const get = function (this: Assembled) {
          const { views } = this.#place
          const known = this.#parts.get(member)
          known?.[Insides.place](views, offset(this.#place))
          const value = known ?? codec.read(views, offset(this.#place))
          if (isPart) this.#parts.set(member, value as Part)
          return value
        }
        const set = function (this: Assembled, value: unknown) {
          codec.write(this.#place.views, offset(this.#place), value)
        }
        Object.defineProperty(prototype, name, { get, set, configurable: true })
      }
      if (code.indices !== undefined) {
        const get = function (this: Assembled) {
          return this.#place.index
        }
        const set = function (this: Assembled, index: number) {
          const { views, indices } = this.#place
          this.#place.index = checkedIndex(views, indices!, index)
        }
        const move = function (this: { index: number }, index: number) {
          this.index = index
          return this
        }
        Object.defineProperties(prototype, { index: { get, set, configurable: true }, move: { value: move } })
      }
    }

    [Insides.views](): Views {
      return this.#place.views
    }
    [Insides.offset](): number {
      return code.offset(this.#place)
    }
    [Insides.hold](): Hold {
      return this.#place.third as Hold
    }
    [Insides.place](views: Views, offset: number): void {
      this.#place.views = views
      this.#place.start = offset
    }
    [Insides.end](reason: Views): void {
      this.#place.views = reason
      for (const part of this.#parts.values()) part[Insides.end](reason)
    }
  } as Made
}
