/**
 * A window: 4 GiB, so that a word's index in it is a small integer. One array over a heap of 32 GiB would have 2^33 words,
 * and V8 takes 15 to 19 ns for a load from an array of more than 2^31.
 */
export const enum Window {
  /** `granule >>> Window.Shift` is its window. */
  Shift = 28,
  /** The granule in its window. */
  Mask = 0xfffffff,
  Bytes = 4294967296,
}

/** A heap's memory in words of 32 bits, four to a granule. */
export class HeapWords {
  readonly windows: readonly Int32Array[]

  constructor(buffer: SharedArrayBuffer | ArrayBuffer) {
    const windows: Int32Array[] = []
    for (let at = 0; at < buffer.byteLength; at += Window.Bytes) {
      windows.push(new Int32Array(buffer, at, Math.min(Window.Bytes, buffer.byteLength - at) / 4))
    }
    this.windows = windows
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
