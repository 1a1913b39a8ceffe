import { checkInteger } from '../base/arguments.ts'
import { outOfRange, wrongType } from '../base/errors.ts'
import { type Endian, isBig, MOST_STRUCT_BYTES, NUMBERS, type NumberKind } from './kinds.ts'
import type { RecordType, Shape } from './shape.ts'

/** A field's type as the compiler knows it. None of this exists at run time. */
export interface FieldTypes<Read, Write, Key> {
  /** The type that a read gives. */
  readonly read: Read
  /** The type that may be written. */
  readonly write: Write
  /** `'plain'`: written as a whole; `'parts'`: has parts of its own; `'pointer'`: an address. */
  readonly key: Key
}

/**
 * The type of a field. A read gives `Read`, and a write takes `Write`. `Key` distinguishes fields that must be written as a whole
 * (`'plain'`), fields with parts of their own (`'parts'`), and pointers (`'pointer'`).
 */
export interface FieldType<Read = unknown, Write = Read, Key extends string = string> {
  /** The field's contents, described as data. */
  readonly shape: Shape
  /** For the compiler only; it doesn't exist at run time. */
  readonly types?: FieldTypes<Read, Write, Key>
}

/** The fields of a struct, in the order in which they are in memory. */
export type Fields = Readonly<Record<string, FieldType>>

/** A field that is one number. */
export interface NumberType<Value extends number | bigint, Kind extends NumberKind = NumberKind>
  extends FieldType<Value, Value, 'plain'> {
  /** The kind of number: its width, and whether it has a sign. */
  readonly kind: Kind
}

/** An array in a record. The struct fixes its length. */
export interface FieldArray<Read, Write> extends Iterable<Read> {
  /** How many elements. */
  readonly length: number
  /** @throws RangeError `ERR_OUT_OF_RANGE` if there is no such element */
  get(index: number): Read
  /** Writes element `index`. @throws RangeError `ERR_OUT_OF_RANGE` if there is no such element, or the value doesn't fit; TypeError */
  set(index: number, value: Write): void
  /** Writes all elements. @throws RangeError `ERR_OUT_OF_RANGE` if there are more or fewer values */
  assign(values: Iterable<Write>): void
  /** A copy. */
  toJSON(): unknown[]
}

function number<Value extends number | bigint, Kind extends NumberKind>(kind: Kind): NumberType<Value, Kind> {
  return { kind, shape: { is: 'number', kind, safe: false } }
}

/** A signed byte. */
export const i8 = number<number, 'i8'>('i8')
/** An unsigned byte. */
export const u8 = number<number, 'u8'>('u8')
/** A signed integer of 16 bits. */
export const i16 = number<number, 'i16'>('i16')
/** An unsigned integer of 16 bits. */
export const u16 = number<number, 'u16'>('u16')
/** A signed integer of 32 bits. */
export const i32 = number<number, 'i32'>('i32')
/** An unsigned integer of 32 bits. */
export const u32 = number<number, 'u32'>('u32')
/** A signed integer of 64 bits: a bigint. See {@link safe}. */
export const i64 = number<bigint, 'i64'>('i64')
/** An unsigned integer of 64 bits: a bigint. See {@link safe}. */
export const u64 = number<bigint, 'u64'>('u64')
/** A number of 32 bits, as `Math.fround` rounds it. */
export const f32 = number<number, 'f32'>('f32')
/** A number of 64 bits, like JavaScript's own. */
export const f64 = number<number, 'f64'>('f64')
/** A byte that is 0 or 1. Other values read as true. */
export const bool: FieldType<boolean, boolean, 'plain'> = { shape: { is: 'bool' } }

/** An integer of 64 bits as a number, which must be a safe integer; every read and write checks that. */
export function safe(type: NumberType<bigint>): NumberType<number> {
  const shape = numberShape('type', type)
  if (!isBig(shape.kind)) throw outOfRange('type', 'u64 or i64', shape.kind)
  return { kind: shape.kind, shape: { ...shape, safe: true } }
}

/** `length` bytes. A read gives a view of them; a shorter value may be written, and is padded with zeros. */
export function bytes(length: number): FieldType<Uint8Array, Uint8Array, 'plain'> {
  return { shape: { is: 'bytes', length: checkLength(length) } }
}

/** Text of at most `length` bytes of UTF-8, padded with zeros. It can't contain U+0000: a read ends at the first. */
export function text(length: number): FieldType<string, string, 'plain'> {
  return { shape: { is: 'text', length: checkLength(length) } }
}

/** `length` elements, one after the other. */
export function array<Read, Write, Key extends string>(
  element: FieldType<Read, Write, Key>,
  length: number
): FieldType<FieldArray<Read, Write>, Iterable<Write>, 'parts'> {
  const shape = shapeOf('element', element)
  if (shape.is === 'bits') throw outOfRange('element', 'no bit field', shape.is)
  return { shape: { is: 'array', element: shape, length: checkLength(length) } }
}

/**
 * The type of a field that holds an address.
 * @typeParam Target the struct's own name, or a function that gives the struct
 */
export interface PointerType<Target> extends FieldType<number, number, 'pointer'> {
  /** For the compiler only. */
  readonly target?: Target
}

/**
 * The address of a block of the same heap, in 8 bytes; 0 for none. A read gives a number; `record.deref('next')` gives the record there.
 * @typeParam Target the target's type, for the compiler
 * @param target the struct's own name, or a function that gives the struct, which may be declared later
 */
export function pointer<const Target extends string | (() => RecordType)>(target: Target): PointerType<Target> {
  if (typeof target !== 'string' && typeof target !== 'function')
    throw wrongType('target', 'a name, or a function that gives a struct', target)
  return { shape: { is: 'pointer', target } }
}

/** Names for the values of an integer of up to 32 bits: an array counts from 0. Reading a number that has no name throws. */
export function enumeration<const Name extends string>(
  type: NumberType<number>,
  names: readonly Name[] | Readonly<Record<Name, number>>
): FieldType<Name, Name, 'plain'> {
  const { kind, endian } = numberShape('type', type)
  const range = NUMBERS[kind].range
  if (range === undefined || isBig(kind)) throw outOfRange('type', 'an integer of up to 32 bits', kind)
  if (typeof names !== 'object' || names === null) throw wrongType('names', 'an array or an object', names)
  const entries: [string, unknown][] = Array.isArray(names)
    ? names.map((name, value) => [name, value])
    : Object.entries(names)
  const map = new Map<string, number>()
  for (const [name, value] of entries) {
    if (typeof name !== 'string') throw wrongType('a name', 'a string', name)
    if (map.has(name)) throw outOfRange('names', 'different names', name)
    if (typeof value !== 'number') throw wrongType(name, 'a number', value)
    if (!Number.isInteger(value) || value < Number(range[0]) || value > Number(range[1]))
      throw outOfRange(name, `a value of ${kind}`, value)
    map.set(name, value)
  }
  if (map.size === 0) throw outOfRange('names', 'at least one name', 'none')
  if (new Set(map.values()).size !== map.size) throw outOfRange('names', 'different values', [...map.values()])
  return { shape: { is: 'enumeration', kind, names: map, ...(endian === undefined ? {} : { endian }) } }
}

/** `width` bits of an integer, packed beside other bit fields as gcc packs them on x86-64. */
export function bits<Value extends number | bigint>(
  type: NumberType<Value>,
  width: number
): FieldType<Value, Value, 'plain'> {
  const { kind, endian, safe } = numberShape('type', type)
  if (NUMBERS[kind].range === undefined || safe) throw outOfRange('type', 'an integer', safe ? 'safe()' : kind)
  if (endian !== undefined) throw outOfRange('type', 'in the order of the machine', endian)
  checkInteger('width', width, 1, NUMBERS[kind].size * 8, 0)
  return { shape: { is: 'bits', kind, width } }
}

/** The same type with its low byte first, independent of the machine and the struct. */
export function le<Type extends FieldType>(type: Type): Type {
  return ordered(type, 'little')
}

/** The same type with its high byte first, independent of the machine and the struct. */
export function be<Type extends FieldType>(type: Type): Type {
  return ordered(type, 'big')
}

function ordered<Type extends FieldType>(type: Type, endian: Endian): Type {
  return { ...type, shape: orderedShape(shapeOf('type', type), endian) }
}

function orderedShape(shape: Shape, endian: Endian): Shape {
  switch (shape.is) {
    case 'number':
    case 'enumeration':
    case 'pointer':
      return { ...shape, endian }
    case 'array':
      return { ...shape, element: orderedShape(shape.element, endian) }
    default:
      throw outOfRange('type', 'a number, an enumeration, a pointer, or an array of such', shape.is)
  }
}

/** The shape with a byte order, if it has none of its own. */
export function withDefaultOrder(shape: Shape, endian: Endian): Shape {
  if (shape.is === 'array') return { ...shape, element: withDefaultOrder(shape.element, endian) }
  const takesOrder = shape.is === 'number' || shape.is === 'enumeration' || shape.is === 'pointer'
  return takesOrder && shape.endian === undefined ? { ...shape, endian } : shape
}

/** Returns the shape of a type, or throws a TypeError. */
export function shapeOf(name: string, type: unknown): Shape {
  const shape = (type as FieldType | undefined | null)?.shape
  if (typeof shape !== 'object' || shape === null || !('is' in shape)) throw wrongType(name, 'a type of a field', type)
  return shape
}

function numberShape(name: string, type: unknown): Shape & { is: 'number' } {
  const shape = shapeOf(name, type)
  if (shape.is !== 'number') throw outOfRange(name, 'a number', shape.is)
  return shape
}

function checkLength(length: unknown): number {
  if (typeof length !== 'number') throw wrongType('length', 'a number', length)
  return checkInteger('length', length, 1, MOST_STRUCT_BYTES, 0)
}
