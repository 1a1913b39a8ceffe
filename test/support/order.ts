import {
  array,
  bits,
  enumeration,
  f64,
  i32,
  pointer,
  safe,
  struct,
  text,
  u8,
  u32,
  u64,
} from '../../lib/struct/index.ts'

/** Where something is. */
export const Point = struct({ x: f64, y: f64 }, { name: 'Point' })

/** A struct with a field of most types. */
export const Order = struct(
  {
    id: u64,
    price: f64,
    qty: i32,
    side: enumeration(u8, ['buy', 'sell']),
    symbol: text(12),
    next: pointer('Order'),
    place: Point,
    legs: array(i32, 3),
    flag: bits(u32, 3),
    seen: safe(u64),
  },
  { name: 'Order' }
)
