import { inspect } from 'node:util'
import { checkCount } from '../base/arguments.ts'
import { outOfRange, wrongType } from '../base/errors.ts'
import { hideFromCopies, printed } from '../base/printed.ts'
import type { Codec } from './codec.ts'
import type { FieldArray } from './field-types.ts'
import * as Insides from './insides.ts'
import { extentOf } from './layout.ts'
import { contentsOf, type Part } from './record.ts'
import type { Shape } from './shape.ts'
import type { Views } from './views.ts'

/** The properties of an array in a record. */
interface ArrayTraits {
  readonly element: Codec
  readonly length: number
  /** Bytes from one element to the next. */
  readonly stride: number
  readonly name: string
}

/** An array in a record: its place, and its properties. */
export class RecordArray implements FieldArray<unknown, unknown>, Part {
  #views: Views
  #offset: number
  readonly #traits: ArrayTraits

  constructor(traits: ArrayTraits, views: Views, offset: number) {
    this.#traits = traits
    this.#views = views
    this.#offset = offset
  }

  get length(): number {
    return this.#traits.length
  }

  get(index: number): unknown {
    return this.#traits.element.read(this.#views, this.offsetOf(index))
  }

  set(index: number, value: unknown): void {
    this.#traits.element.write(this.#views, this.offsetOf(index), value)
  }

  assign(values: Iterable<unknown>): void {
    assignAll(this.#traits, this.#views, this.#offset, values)
  }

  *[Symbol.iterator](): Iterator<unknown> {
    for (let i = 0; i < this.length; i++) yield this.get(i)
  }

  toJSON(key?: string): unknown[] {
    return key !== undefined && !this.#views.isLive ? [] : plainAll(this.#traits, this.#views, this.#offset)
  }

  [inspect.custom](_depth: number, options: object): string {
    if (!this.#views.isLive) return `${this.#traits.name} (gone)`
    return printed('', () => this.toJSON(''), options).trimStart() // like any array
  }

  get [Symbol.toStringTag](): string {
    return contentsOf(this.#traits.name, this.#views, () => this.toJSON(''))
  }

  [Insides.place](views: Views, offset: number): void {
    this.#views = views
    this.#offset = offset
  }

  [Insides.end](reason: Views): void {
    this.#views = reason
  }

  private offsetOf(index: number): number {
    const { length, stride, name } = this.#traits
    if (checkCount('index', index) >= length)
      throw outOfRange('index', `below the ${length} elements of ${name}`, index)
    return this.#offset + index * stride
  }
}

hideFromCopies(RecordArray.prototype)

function assignAll({ element, length, stride, name }: ArrayTraits, views: Views, offset: number, given: unknown): void {
  if (typeof given !== 'object' || given === null || !(Symbol.iterator in given))
    throw wrongType(name, 'an array of values', given)
  const values = [...(given as Iterable<unknown>)]
  if (values.length !== length) throw outOfRange(name, `${length} values`, `${values.length} values`)
  for (const [i, value] of values.entries()) element.write(views, offset + i * stride, value)
}

function plainAll({ element, length, stride }: ArrayTraits, views: Views, offset: number): unknown[] {
  return Array.from({ length }, (_, i) => element.plain(views, offset + i * stride))
}

/** The codec of an array in a record. */
export function arrayCodec(element: Codec, shape: Shape & { is: 'array' }, name: string): Codec {
  const traits = { element, length: shape.length, stride: extentOf(shape.element).size, name }
  return {
    read: (views, offset) => new RecordArray(traits, views, offset),
    write: (views, offset, value) => assignAll(traits, views, offset, value),
    plain: (views, offset) => plainAll(traits, views, offset),
  }
}
