import { types } from 'node:util'
import { outOfRange, wrongType } from '../errors.ts'
import { checkBits, checkPointer, checkSafe, FITS, numberError, unsafe } from './checks.ts'
import { alignmentAt, type Codec, codecOfField } from './codecs.ts'
import { type Access, type Body, bodyOf, never } from './emit.ts'
import { NUMBERS } from './kinds.ts'
import type { FieldLayout } from './layout.ts'
import { CursorBase, checkedIndex, RecordBase, wrongIndex } from './record.ts'
import type { AnyStruct } from './shapes.ts'
import type { Views } from './views.ts'

type Base = abstract new () => object
type Made = new (views: Views, offset: number, third: unknown) => object

/** What generated code may name. */
const HELPERS = {
  FITS,
  checkBits,
  checkPointer: (name: string, _kind: string, value: unknown) => checkPointer(name, value),
  checkSafe,
  lost: ({ $v }: { $v: Views }) => $v.lose(),
  numberError,
  unsafe,
  wrongIndex,
  wrongType,
}

/** Compiles text that may use {@link HELPERS} and what it is given, as constants, so that V8 knows what they are; undefined where that is forbidden. */
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

/** How the records of a struct are read and written where their offsets are multiples of `alignment`. */
export class StructAccessors {
  readonly struct: AnyStruct
  readonly alignment: number
  readonly size: number
  readonly fields: ReadonlyMap<string, FieldAccess>
  /** Records know their place in units of the alignment: by so many bits an offset is shifted. */
  readonly unitShift: number
  /** The class of records; `unit` is {@link RecordBase.$e}. */
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
      const place = { name: field.name, alignment: alignmentAt(alignment, field.offset), checked: struct.isChecked }
      return { field, codec: codecOfField(field, place) }
    }
    this.fields = new Map(layout.fields.map((field) => [field.name, access(field)]))
    this.plain = this.plain.bind(this)
    this.assign = this.assign.bind(this)
    this.Part = this.make(
      RecordBase,
      recordCode(this.unitShift),
      'this.$o',
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
   * `StructArray.at` for this struct alone, since a function that makes records of many structs isn't put in the place of its call;
   * undefined where no code may be made from strings.
   */
  compiledAt(): ((index: number) => RecordBase) | undefined {
    const text = `return function at(x) {
      if (${NO_INDEX}) throw wrongIndex(this.$v, x, this.length)
      return new Part(this.$v, (this.$s >> ${this.unitShift}) + Math.imul(x, ${this.size / this.alignment}) | 0, 0)
    }`
    return compile({ Part: this.Part }, text) as ((index: number) => RecordBase) | undefined
  }

  /** A record as plain data. */
  plain(views: Views, offset: number): Record<string, unknown> {
    const plain: Record<string, unknown> = {}
    for (const [name, { field, codec }] of this.fields) plain[name] = codec.plain(views, offset + field.offset)
    return plain
  }

  /** Writes the fields that are given. */
  assign(views: Views, offset: number, values: unknown): void {
    for (const [name, value] of entriesOf(this.struct.name, values)) {
      const { field, codec } = this.access(name)
      codec.write(views, offset + field.offset, value)
    }
  }

  /** A field by name. @throws RangeError `ERR_OUT_OF_RANGE` where there is none */
  access(name: string): FieldAccess {
    return accessIn(this.fields, name)
  }

  private makeCursor(): NonNullable<typeof this.cursorClass> {
    const { size } = this
    // The index is all that moves: so an access in a loop is what it would be with a typed array, i * step + first.
    const access: Access = (kind, delta) => {
      const unit = NUMBERS[kind].size
      return `(this.$s >> ${Math.log2(unit)}) + Math.imul(this.$i, ${size / unit}) + ${delta / unit} | 0`
    }
    return this.make(CursorBase, CURSOR, `this.$s + Math.imul(this.$i, ${size})`, access) as never
  }

  private make(base: Base, code: ClassCode, start: string, access: Access): Made {
    const members = [...this.fields.values()].map(({ field, codec }) => ({
      name: field.name,
      codec,
      isPart: isPart(field),
      at: `${start} + ${field.offset}`,
      offset: (object: { $o: number }) => object.$o + field.offset,
      body: bodyOf(field, this.alignment, this.struct.isChecked, access),
    }))
    const made = makeClass(base, code, members)
    Object.defineProperty(made.prototype, '$accessors', { value: this })
    Object.defineProperty(made, 'name', { value: this.struct.name })
    return made
  }
}

/**
 * Fields of a record: an element of the views. With an offset in bytes it would take a shift to the right, which V8 can't put together
 * with the multiplication by which `StructArray.at` comes to it.
 */
function recordAccess(unitShift: number): Access {
  return (kind, delta) => {
    const { size } = NUMBERS[kind]
    return `(this.$e << ${unitShift - Math.log2(size)}) + ${delta / size} | 0`
  }
}

/** Whether reads give something that has parts: it is made once, and then put where the record is. */
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

/** The fields that are given; a field that is undefined isn't. */
export function entriesOf(name: string, values: unknown): [string, unknown][] {
  if (typeof values !== 'object' || values === null) throw wrongType(name, 'an object', values)
  const plain =
    values instanceof RecordBase || values instanceof CursorBase ? recordEntries(values) : Object.entries(values)
  return plain.filter(([, value]) => value !== undefined)
}

function recordEntries(record: RecordBase | CursorBase): [string, unknown][] {
  return [...record.$accessors.fields.keys()].map((name) => [
    name,
    (record as unknown as Record<string, unknown>)[name],
  ])
}

/** What a class does beside its fields: its constructor's body, whose arguments are `v`, `o` (where it is) and `w`, and methods. */
export interface ClassCode {
  readonly init: string
  readonly methods: string
  /** The same where no code may be made from strings. */
  readonly assembled: PropertyDescriptorMap
  initialize(object: Record<string, unknown>, views: Views, offset: number, third: unknown): void
}

/**
 * Code for whether `x` is no index. `$a` has as many elements as there are records. What V8 compiles of a load from it is the check of
 * the index alone, one comparison; and since what it throws at isn't a part of a loop then, V8 can move what doesn't change before the
 * loop, from Node 22 on. A branch that throws prevents that: with one, each access took twice as long, and in loops that are compiled
 * while they run each sum of doubles was an object.
 */
const NO_INDEX = `${never("typeof x !== 'number'")} || this.$a[x] === undefined`

/** How cursors move. Each class has functions of its own: V8 keeps what it learns of them by function. */
export const MOVE = `
  move(x) {
    if (${NO_INDEX}) throw wrongIndex(this.$v, x, this.$a.length)
    this.$i = x | 0
    return this
  }
  get index() { return this.$i }
  set index(x) {
    if (${NO_INDEX}) throw wrongIndex(this.$v, x, this.$a.length)
    this.$i = x | 0
  }`

/** The same where no code may be made from strings. */
export const MOVES: PropertyDescriptorMap & ThisType<{ $v: Views; $a: Int8Array; $i: number; index: number }> = {
  move: {
    value(index: number) {
      this.index = index
      return this
    },
  },
  index: {
    get() {
      return this.$i
    },
    set(index: number) {
      this.$i = checkedIndex(this.$v, this.$a, index)
    },
  },
}

function recordCode(unitShift: number): ClassCode {
  return {
    init: 'this.$v = v; this.$e = o; this.$w = w',
    methods: `
  get $o() { return this.$e << ${unitShift} }
  set $o(x) { this.$e = x >> ${unitShift} }`,
    assembled: {
      $o: {
        get(this: RecordBase) {
          return this.$e << unitShift
        },
        set(this: RecordBase, offset: number) {
          this.$e = offset >> unitShift
        },
      },
    },
    initialize(object, $v, $e, $w) {
      Object.assign(object, { $v, $e, $w })
    },
  }
}

const CURSOR: ClassCode = {
  init: 'this.$v = v; this.$s = o; this.$a = w; this.$i = 0',
  methods: MOVE,
  assembled: MOVES,
  initialize(object, $v, $s, $a) {
    Object.assign(object, { $v, $s, $a, $i: 0 })
  },
}

/** A field as a class has it. */
export interface Member {
  readonly name: string
  readonly codec: Codec
  readonly isPart: boolean
  /** Code for its offset in the views, and the same as a function. */
  readonly at: string
  offset(object: never): number
  readonly body: Body | undefined
}

/**
 * A class with a property for each field. It is compiled from text, so that offsets are literals in it and V8 sees what each struct
 * alone does; where that is forbidden, it is put together from functions, which do the same and are slower.
 */
export function makeClass(base: Base, code: ClassCode, members: readonly Member[]): Made {
  const parts = members.flatMap(({ isPart }, i) => (isPart ? [`$p${i}`] : []))
  const codecs = members.map(({ codec }) => codec)
  const made = compile({ codecs }, textOf(code, members, parts)) as Made | undefined
  if (made === undefined) return assemble(base, code, members, parts)
  // No class that extends another: its constructor would look for the other's at every call.
  Object.setPrototypeOf(made.prototype, base.prototype)
  return made
}

function textOf(code: ClassCode, members: readonly Member[], parts: readonly string[]): string {
  const properties = members.map(({ name, isPart, at, body }, i) => {
    const read = `codecs[${i}].read(this.$v, ${at})`
    const get = isPart
      ? `const y = this.$p${i}; if (y === undefined) return this.$p${i} = ${read}; y.$v = this.$v; y.$o = ${at}; return y`
      : (body?.get ?? `return ${read}`)
    return `
      get ${name}() { ${get} }
      set ${name}(x) { ${body?.set ?? `codecs[${i}].write(this.$v, ${at}, x)`} }`
  })
  return `return class {
      constructor(v, o, w) { ${code.init}; ${parts.map((part) => `this.${part} = undefined`).join('; ')} }
      ${code.methods}
      ${properties.join('')}
      $end(x) { this.$v = x; ${parts.map((part) => `if (this.${part} !== undefined) this.${part}.$end(x)`).join('; ')} }
    }`
}

interface Holder extends Record<string, unknown> {
  $v: Views
}

function assemble(base: Base, code: ClassCode, members: readonly Member[], parts: readonly string[]): Made {
  const made = class extends (base as new () => object) {
    constructor(views: Views, offset: number, third: unknown) {
      super()
      const holder = this as unknown as Holder
      code.initialize(holder, views, offset, third)
      for (const part of parts) holder[part] = undefined
    }
    $end(reason: Views): void {
      const holder = this as unknown as Holder
      holder.$v = reason
      for (const part of parts) (holder[part] as { $end(reason: Views): void } | undefined)?.$end(reason)
    }
  }
  Object.defineProperties(made.prototype, code.assembled)
  for (const [i, { name, codec, isPart, offset }] of members.entries()) {
    const at = offset as (object: unknown) => number
    const part = `$p${i}`
    const get = function (this: Holder) {
      if (!isPart) return codec.read(this.$v, at(this))
      const known = this[part] as { $v: Views; $o: number } | undefined
      if (known !== undefined) return Object.assign(known, { $v: this.$v, $o: at(this) })
      this[part] = codec.read(this.$v, at(this))
      return this[part]
    }
    const set = function (this: Holder, value: unknown) {
      codec.write(this.$v, at(this), value)
    }
    Object.defineProperty(made.prototype, name, { get, set, configurable: true })
  }
  return made as Made
}
