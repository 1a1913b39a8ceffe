/** Bytes of a window. */
const WINDOW_BYTES = 2 ** 32

/**
 * A heap's memory as words of 32 bits, in windows of 4 GiB, so that a word's index in its window is a small integer. One array
 * over a heap of 32 GiB would have 2^33 words, and V8 takes 15 to 19 ns for a load from an array of more than 2^31.
 */
export function windowsOf(buffer: SharedArrayBuffer | ArrayBuffer): Int32Array[] {
  const windows: Int32Array[] = []
  for (let offset = 0; offset < buffer.byteLength; offset += WINDOW_BYTES) {
    windows.push(new Int32Array(buffer, offset, Math.min(WINDOW_BYTES, buffer.byteLength - offset) / 4))
  }
  return windows
}
