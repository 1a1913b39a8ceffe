import { outOfRange } from '../errors.ts'
import type { Views } from './views.ts'

type Key = number | bigint | string | boolean

/** Sorts records where they are by what a column holds. Equal keys keep their order; NaN comes last, in both orders. */
export function sortRecords(
  column: Iterable<unknown>,
  views: Views,
  { start, length, size }: { start: number; length: number; size: number },
  descending: boolean
): void {
  const keys = [...column] as Key[]
  for (const key of keys) {
    if (typeof key === 'object') throw outOfRange('field', 'a number, a bigint, a boolean, a name or text', typeof key)
  }
  const sign = descending ? -1 : 1
  const order = Uint32Array.from(keys.keys()).sort((a, b) => {
    const [x, y] = [keys[a]!, keys[b]!]
    if (x < y) return -sign
    if (x > y) return sign
    if (x === y) return 0
    return Number(Number.isNaN(x)) - Number(Number.isNaN(y))
  })
  permute(views.u8, start, size, order, length)
}

/** Puts record `order[i]` at `i`, in cycles: one record is aside at a time. */
function permute(bytes: Buffer, start: number, size: number, order: Uint32Array, length: number): void {
  const aside = Buffer.alloc(size)
  const at = (index: number) => start + index * size
  for (let first = 0; first < length; first++) {
    if (order[first] === first) continue
    bytes.copy(aside, 0, at(first), at(first) + size)
    let to = first
    while (order[to] !== first) {
      const from = order[to]!
      bytes.copyWithin(at(to), at(from), at(from) + size)
      order[to] = to
      to = from
    }
    aside.copy(bytes, at(to))
    order[to] = to
  }
}
