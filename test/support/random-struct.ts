import {
  array,
  be,
  bits,
  bool,
  bytes,
  type Endian,
  enumeration,
  type Fields,
  type FieldType,
  f32,
  f64,
  i8,
  i16,
  i32,
  i64,
  le,
  type NumberType,
  pointer,
  type Struct,
  safe,
  struct,
  text,
  u8,
  u16,
  u32,
  u64,
} from '../../lib/struct/index.ts'
import type { Random } from './random.ts'

const INTEGERS: readonly NumberType<number | bigint>[] = [i8, u8, i16, u16, i32, u32, i64, u64]
const NUMBERS = [...INTEGERS, f32, f64]

/** A struct as the seed decides: nested ones, arrays, bit fields, packed ones, every type. */
export function randomStruct(random: Random, name: string, depth = 0): Struct<Fields, string> {
  const fields: Record<string, FieldType> = {}
  const count = 1 + random.below(depth === 0 ? 9 : 4)
  for (let i = 0; i < count; i++) fields[`f${i}`] = randomField(random, `${name}_f${i}`, depth)
  const endian = random.pick<Endian | 'native'>(['native', 'native', 'little', 'big'])
  return struct(fields, { name, packed: random.below(4) === 0, endian })
}

function randomField(random: Random, name: string, depth: number): FieldType {
  const width = 1 + random.below(64)
  const type = random.pick(INTEGERS)
  switch (random.below(12)) {
    case 0:
    case 1:
    case 2:
      return random.pick(NUMBERS) as FieldType
    case 3:
    case 4:
    case 5:
      return bits(type, 1 + (width % Number(type.kind.slice(1)))) as FieldType
    case 6:
      return random.pick<FieldType>([bool, bytes(1 + random.below(9)), text(1 + random.below(9)), pointer(name)])
    case 7:
      return random.pick<FieldType>([safe(u64), safe(i64), be(u32), le(i16), be(f64), be(safe(u64)), be(pointer(name))])
    case 8:
      return enumeration(random.pick([i8, u8, i16, u16, i32, u32]), { none: 0, one: 1, most: 100 }) as FieldType
    case 9:
    case 10:
      if (depth < 2) return randomStruct(random, name, depth + 1) as unknown as FieldType
      return f64 as FieldType
    default: {
      let element = randomField(random, name, depth + 1)
      while (element.shape.is === 'bits') element = randomField(random, name, depth + 1)
      return array(element, 1 + random.below(4))
    }
  }
}
