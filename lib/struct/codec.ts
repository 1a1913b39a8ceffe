import type { Views } from './views.ts'

/** How one type is read and written at an offset of views. Accessors are made from these where nothing faster is known. */
export interface Codec {
  read(views: Views, offset: number): unknown
  write(views: Views, offset: number, value: unknown): void
  /** As data that JSON can hold. */
  plain(views: Views, offset: number): unknown
}

/** What a codec is to know of where it is used. */
export interface Place {
  /** What errors call it. */
  readonly name: string
  /** Offsets that it is used with are multiples of this power of two. */
  readonly alignment: number
}

/** What an offset that is a multiple of `alignment` is still a multiple of, `offset` bytes on. */
export function alignmentAt(alignment: number, offset: number): number {
  return offset === 0 ? alignment : Math.min(alignment, 2 ** (31 - Math.clz32(offset & -offset)))
}
