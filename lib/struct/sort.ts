import { outOfRange } from '../base/errors.ts'
import type { Column } from './column.ts'
import { keysOfBigints, keysOfNumbers, radixOrder } from './radix.ts'
import type { FieldLayout } from './shape.ts'
import type { Views } from './views.ts'

type Key = number | bigint | string | boolean

/** Fewer records are sorted by comparisons: counting their digits would take longer, about 20 µs. */
const LEAST_FOR_RADIX = 256

/** Sorts records in place by a column's values. Equal keys keep their order; NaN comes last, in both orders. */
export function sortRecords(
  field: FieldLayout,
  column: Column,
  views: Views,
  { start, length, size }: { start: number; length: number; size: number },
  descending: boolean
): void {
  if (length < 2) return
  const byDigits = length < LEAST_FOR_RADIX ? undefined : orderOfNumbers(field, column, descending)
  const order = byDigits ?? compare(column, descending)
  // Copy whole words if records are made of them: a copy by bytes takes four times as long.
  const unit = start % 4 === 0 && size % 4 === 0 ? 4 : 1
  permute(unit === 4 ? views.i32 : views.u8, start / unit, size / unit, order)
}

/** The order of values that are all of one kind of number, or booleans; undefined for any other values. */
function orderOfNumbers({ shape }: FieldLayout, column: Column, descending: boolean): Uint32Array | undefined {
  const { length } = column
  const one = column.get(0)
  if (typeof one === 'bigint') {
    const bigints = 'kind' in shape && shape.kind === 'i64' ? new BigInt64Array(length) : new BigUint64Array(length)
    copyValues(column, bigints)
    return radixOrder(keysOfBigints(bigints, descending))
  }
  if (typeof one !== 'number' && typeof one !== 'boolean') return undefined
  const numbers = new Float64Array(length)
  copyValues(column, numbers)
  return radixOrder(keysOfNumbers(numbers, descending))
}

type Numbers = Record<number, unknown>

function copyValues(column: Column, to: Numbers): void {
  const { length, first, step } = column
  const values = column.values as Numbers | undefined
  // The values of a `safe` field are bigints although the field gives numbers.
  if (typeof values?.[first] !== typeof column.get(0)) for (let i = 0; i < length; i++) to[i] = column.get(i)
  else for (let i = 0; i < length; i++) to[i] = values![first + i * step]
}

function compare(column: Column, descending: boolean): Uint32Array {
  const keys = [...column] as Key[]
  for (const key of keys) {
    if (typeof key === 'object') throw outOfRange('field', 'a number, a bigint, a boolean, a name or text', typeof key)
  }
  const sign = descending ? -1 : 1
  return Uint32Array.from(keys.keys()).sort((a, b) => {
    const [x, y] = [keys[a]!, keys[b]!]
    if (x < y) return -sign
    if (x > y) return sign
    if (x === y) return 0
    return Number(Number.isNaN(x)) - Number(Number.isNaN(y))
  })
}

/** Puts record `order[i]` at `i`, in cycles: one record is set aside at a time. Everything is counted in elements of `units`. */
function permute(units: Int32Array | Uint8Array, start: number, size: number, order: Uint32Array): void {
  const aside = units.slice(start, start + size)
  for (let first = 0; first < order.length; first++) {
    if (order[first] === first) continue
    copy(units, start + first * size, aside, 0, size)
    let to = first
    while (order[to] !== first) {
      const from = order[to]!
      copy(units, start + from * size, units, start + to * size, size)
      order[to] = to
      to = from
    }
    copy(aside, 0, units, start + to * size, size)
    order[to] = to
  }
}

/** A loop: for the few words of a record, a call of `copyWithin` takes longer. */
function copy(
  source: Int32Array | Uint8Array,
  from: number,
  target: Int32Array | Uint8Array,
  to: number,
  length: number
) {
  for (let i = 0; i < length; i++) target[to + i] = source[from + i]!
}
