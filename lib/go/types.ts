import { checkCount, checkOptions, checkPointerOffsets, type OptionNames } from '../base/arguments.ts'
import { outOfRange } from '../base/errors.ts'
import { roundUp } from '../memory/page.ts'
import { GoSmall, spanClassOf } from './size-class.ts'
import { Word8 } from './span.ts'
import { Tiny } from './tiny.ts'

/** A type, as `defineType` numbers it: from 1 on. */
export type TypeId = number

/** What `defineType` is told of a type. */
export interface TypeLayout {
  /** Bytes of an object. */
  size: number
  /** Byte offsets of its pointers, which are 8 bytes each: multiples of 8, each once, in any order. */
  pointers: readonly number[]
}

const LAYOUT: OptionNames<TypeLayout> = { size: true, pointers: true }

/** An object of a type can't be larger: 1 GiB. An array of many can. */
const MOST_TYPE_BYTES = 2 ** 30

export const enum TypeEntry {
  Shift = 2,
}

/** What the usual path reads of a type; a word each. */
export const enum TypeWord {
  /** Bytes from one object of an array to the next: its size, rounded up to a multiple of 8 if it holds pointers. */
  Stride = 0,
  /** One bit for each of its first 32 units of 8 bytes: 1 where a pointer is. */
  Mask = 1,
  /** The span class of a single object; 0 where that is large, or tiny. */
  SpanClass = 2,
  /** 1 where it holds no pointers. */
  Noscan = 3,
}

/** The types of a heap: which units of 8 bytes of an object are pointers. */
export class Types {
  /** By type; see TypeWord. Grows as types are defined, and then is another array. */
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

  /** Where the pointers of a type are, in units of 8 bytes, in order. */
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
