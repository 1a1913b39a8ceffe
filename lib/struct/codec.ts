import type { Views } from './views.ts'

/** How one type is read and written at an offset of views. Accessors are made from codecs if there is no faster way. */
export interface Codec {
  read(views: Views, offset: number): unknown
  write(views: Views, offset: number, value: unknown): void
  /** As data that JSON can hold. */
  plain(views: Views, offset: number): unknown
}

/** The context in which a codec is used. */
export interface Place {
  /** The name in errors. */
  readonly name: string
  /** The offsets that it is used with are multiples of this power of two. */
  readonly alignment: number
}

/** The alignment that remains `offset` bytes after a multiple of `alignment`. */
export function alignmentAt(alignment: number, offset: number): number {
  return offset === 0 ? alignment : Math.min(alignment, 2 ** (31 - Math.clz32(offset & -offset)))
}
