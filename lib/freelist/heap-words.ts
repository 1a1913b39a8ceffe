import { windowsOf } from '../memory/word-windows.ts'

/** Granules in a window of 4 GiB. */
export const enum Window {
  /** `granule >>> Window.Shift` is its window. */
  Shift = 28,
  /** The granule in its window. */
  Mask = 0xfffffff,
}

/** A heap's memory in words of 32 bits, four to a granule. */
export class HeapWords {
  readonly windows: readonly Int32Array[]

  constructor(buffer: SharedArrayBuffer | ArrayBuffer) {
    this.windows = windowsOf(buffer)
  }

  /** REQUIRES: the granule is one of the heap's. */
  load(granule: number, word: number): number {
    return this.windows[granule >>> Window.Shift]![((granule & Window.Mask) << 2) + word]!
  }

  /** REQUIRES: the granule has grown. */
  store(granule: number, word: number, value: number): void {
    this.windows[granule >>> Window.Shift]![((granule & Window.Mask) << 2) + word] = value
  }
}
