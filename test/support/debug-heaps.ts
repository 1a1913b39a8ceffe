import { Heap, type HeapOptions } from '../../lib/index.ts'

/** A heap in debug mode, of 64 MiB. */
export const open = (options: HeapOptions = {}) =>
  new Heap({ limitBytes: 2 ** 26, debug: true, leaks: 'off', ...options })

/** A byte of the heap is written, by whoever has an address that he shouldn't use. */
export const write = (heap: Heap, address: number, value = 1) => {
  new Uint8Array(heap.buffer)[address] = value
}
