import type { GoTables } from './tables.ts'
import type { TypeId, Types } from './types.ts'
import { TypeEntry, TypeWord } from './types.ts'

/**
 * Which units of 8 bytes hold pointers: one bit each, found by the address alone, as Go's heap bitmap was until 1.22. So objects need no
 * header, arrays no type, and the collector needn't look at a type. Units are counted from address 0, as 32-bit integers without a sign.
 */
export class PointerMap {
  readonly bits: Int32Array

  constructor({ unitBits }: GoTables) {
    this.bits = unitBits
  }

  /** Whether a unit holds a pointer. REQUIRES: it is in an object that may hold some. */
  has(unit: number): boolean {
    return (this.bits[unit >>> 5]! & (1 << (unit & 31))) !== 0
  }

  /** Writes the map of one object in a slot of up to 32 units, all in one word of the map. */
  setShort(unit: number, slotUnits: number, mask: number): void {
    const { bits } = this
    const at = unit & 31
    const slot = slotUnits === 32 ? -1 : ((1 << slotUnits) - 1) << at
    bits[unit >>> 5] = (bits[unit >>> 5]! & ~slot) | (mask << at)
  }

  /** Writes the map of `count` objects of a type, one after the other, in a slot of `slotUnits`. */
  set(unit: number, slotUnits: number, types: Types, type: TypeId, count: number): void {
    const { bits } = this
    const first = unit >>> 0
    this.clear(first, slotUnits)
    const pointers = types.pointersOf(type)
    const units = types.words[(type << TypeEntry.Shift) + TypeWord.Stride]! / 8
    for (let object = 0; object < count; object++) {
      const start = first + object * units
      for (let i = 0; i < pointers.length; i++) {
        const at = start + pointers[i]!
        bits[Math.floor(at / 32)]! |= 1 << (at & 31)
      }
    }
  }

  private clear(unit: number, count: number): void {
    const { bits } = this
    const end = unit + count
    const firstWhole = Math.ceil(unit / 32)
    const endWhole = Math.floor(end / 32)
    if (firstWhole > endWhole) {
      // All in one word.
      bits[endWhole]! &= ~(((1 << count) - 1) << (unit & 31))
      return
    }
    if ((unit & 31) !== 0) bits[firstWhole - 1]! &= ~(-1 << (unit & 31))
    bits.fill(0, firstWhole, endWhole)
    if ((end & 31) !== 0) bits[endWhole]! &= -1 << (end & 31)
  }
}
