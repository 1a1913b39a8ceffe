import test from 'ava'
import fc from 'fast-check'
import { PointerMap } from '../../lib/go/pointer-map.ts'
import { GoSizeClasses } from '../../lib/go/size-class.ts'
import type { GoTables } from '../../lib/go/tables.ts'
import { Types } from '../../lib/go/types.ts'

const UNITS = 32 * 64
const classes = new GoSizeClasses()

/** A map with rubbish in it. */
function open(seed: number): { map: PointerMap; before: boolean[] } {
  const map = new PointerMap({ unitBits: new Int32Array(UNITS / 32) } as unknown as GoTables)
  for (let i = 0; i < map.bits.length; i++) map.bits[i] = Math.imul(seed + i, 0x9e37_79b1)
  return { map, before: all(map) }
}

const all = (map: PointerMap) => Array.from({ length: UNITS }, (_, unit) => map.has(unit))

/** Any layout of up to 60 units, a slot that has room for some of them, and where it is. */
const cases = fc
  .record({
    units: fc.integer({ min: 1, max: 60 }),
    pointers: fc.uniqueArray(fc.nat(59), { minLength: 1, maxLength: 20 }),
    count: fc.integer({ min: 1, max: 8 }),
    behind: fc.nat(40),
    at: fc.nat(UNITS - 600),
    seed: fc.integer(),
  })
  .map(({ units, pointers, ...rest }) => ({
    ...rest,
    units: Math.max(units, ...pointers.map((unit) => unit + 1)),
    pointers,
  }))

test('a slot gets the pointers of its objects, and its neighbours keep theirs', (t) => {
  fc.assert(
    fc.property(cases, ({ units, pointers, count, behind, at, seed }) => {
      const { map, before } = open(seed)
      const types = new Types(classes.classBySize8())
      const type = types.define({ size: units * 8, pointers: pointers.map((unit) => unit * 8) })
      const slot = units * count + behind
      map.set(at, slot, types, type, count)
      const isPointer = new Set(pointers)
      const expected = before.map((was, unit) => {
        const offset = unit - at
        if (offset < 0 || offset >= slot) return was
        return offset < units * count && isPointer.has(offset % units)
      })
      return JSON.stringify(all(map)) === JSON.stringify(expected)
    }),
    { numRuns: 500 }
  )
  t.pass()
})

test('a short slot within a word gets its mask, and the rest of the word stays', (t) => {
  for (let units = 1; units <= 32; units++) {
    for (let at = 0; at + units <= 32; at++) {
      const { map, before } = open(units * 100 + at)
      const mask = Math.imul(units, 0x85eb_ca6b) & (units === 32 ? -1 : (1 << units) - 1)
      map.setShort(320 + at, units, mask)
      const wrong = all(map).findIndex((is, unit) => {
        const offset = unit - 320 - at
        return is !== (offset >= 0 && offset < units ? ((mask >>> offset) & 1) === 1 : before[unit])
      })
      if (wrong >= 0) t.fail(`${units} units at ${at}: unit ${wrong}`)
    }
  }
  t.pass()
})
