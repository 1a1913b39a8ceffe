import { checkCount, checkOptions, checkPointerOffsets, type OptionNames } from '../base/arguments.ts'
import { outOfRange } from '../base/errors.ts'
import { roundUp } from '../memory/page.ts'
import { GoSmall, spanClassOf } from './size-class.ts'
import { Word8 } from './span.ts'
import { Tiny } from './tiny.ts'

/** A type's number from `defineType`, from 1 on. */
export type TypeId = number

/** The description of a type for `defineType`. */
export interface TypeLayout {
  /** Bytes of an object. */
  size: number
  /** Byte offsets of its pointers, which are 8 bytes each: multiples of 8, each once, in any order. */
  pointers: readonly number[]
}

const LAYOUT: OptionNames<TypeLayout> = { size: true, pointers: true }

/** The most bytes of one object of a type: 1 GiB. An array of many can be larger. */
const MOST_TYPE_BYTES = 2 ** 30

export const enum TypeEntry {
  Shift = 2,
}

/** A type's words for the usual path. */
export const enum TypeWord {
  /** Bytes from one object of an array to the next: its size, rounded up to a multiple of 8 if it holds pointers. */
  Stride = 0,
  /** One bit for each of its first 32 units of 8 bytes: 1 if the unit is a pointer. */
  Mask = 1,
  /** The span class of a single object; 0 if that is large, or tiny. */
  SpanClass = 2,
  /** 1 if it holds no pointers. */
  Noscan = 3,
}

/** The types of a heap: which units of 8 bytes of an object are pointers. */
export class Types {
  /** By type; see TypeWord. It grows as types are defined, and is then another array. */
  words = new Int32Array(64 << TypeEntry.Shift)
  private readonly offsets: Int32Array[] = [new Int32Array(0)]
  private readonly classBySize8: Int8Array

  constructor(classBySize8: Int8Array) {
    this.classBySize8 = classBySize8
  }

  /** @throws TypeError, RangeError */
  define(layout: TypeLayout): TypeId {
    checkOptions(layout, LAYOUT, 'layout')
    const size = checkCount('layout.size', layout.size)
    if (size > MOST_TYPE_BYTES) throw outOfRange('layout.size', `at most ${MOST_TYPE_BYTES} bytes`, size)
    const units = checkPointerOffsets('layout.pointers', layout.pointers, size).map((offset) => offset / Word8.Bytes)
    units.sort((a, b) => a - b)
    return this.add(size, Int32Array.from(units))
  }

  /** The places of a type's pointers, in units of 8 bytes, in order. */
  pointersOf(type: TypeId): Int32Array {
    return this.offsets[type]!
  }

  /** Whether a value is a type of this heap. */
  has(type: unknown): type is TypeId {
    return Number.isInteger(type) && (type as number) > 0 && (type as number) < this.offsets.length
  }

  private add(size: number, units: Int32Array): TypeId {
    const type = this.offsets.length
    if (type << TypeEntry.Shift >= this.words.length) {
      const longer = new Int32Array(this.words.length * 2)
      longer.set(this.words)
      this.words = longer
    }
    const at = type << TypeEntry.Shift
    const noscan = units.length === 0 ? 1 : 0
    const stride = noscan === 1 ? size : roundUp(size, Word8.Bytes)
    const isSmall = stride <= GoSmall.MostBytes && (noscan === 0 || stride >= Tiny.BlockBytes)
    this.words[at + TypeWord.Stride] = stride
    this.words[at + TypeWord.Noscan] = noscan
    for (const unit of units) if (unit < 32) this.words[at + TypeWord.Mask]! |= 1 << unit
    const sizeClass = isSmall ? this.classBySize8[Math.ceil(stride / Word8.Bytes)]! : 0
    this.words[at + TypeWord.SpanClass] = isSmall ? spanClassOf(sizeClass, noscan) : 0
    this.offsets.push(units)
    return type
  }
}
