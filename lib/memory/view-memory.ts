import { AllocatorError } from '../base/errors.ts'
import { warnOnce } from '../base/warning.ts'
import type { Mapping } from '../os/mapper.ts'

const TAKEN =
  'a byte stream or ArrayBuffer.prototype.transfer has taken the ArrayBuffer of a heap’s buffers: those made before have length 0 now. Give it a copy, or an isolated buffer'

/** The ArrayBuffer and offset of a view. */
export interface ViewPlace {
  readonly buffer: ArrayBuffer
  readonly byteOffset: number
}

/** Views that end beyond this would end the process if a byte stream's reader took them: see `over`. */
const PINNED_FROM = 2 ** 32

/**
 * The ArrayBuffer under this thread's views of a heap.
 *
 * A program can't take it away by accident: it is too long to be cloned, and marked untransferable. On Node 20 and 22, however, the mark
 * doesn't stop byte streams and `ArrayBuffer.prototype.transfer`. They take that object, not the memory: earlier views then have length 0,
 * and later ones are made over a new ArrayBuffer.
 */
export class ViewMemory {
  protected readonly mapping: Mapping
  private arrayBuffer: ArrayBuffer
  /** Its length is 0 once the ArrayBuffer was taken. Reading it is one load; `byteLength` of the buffer would be a call. */
  private probe: Int8Array
  private isPinned = false

  constructor(mapping: Mapping) {
    this.mapping = mapping
    this.arrayBuffer = mapping.unshared()
    this.probe = new Int8Array(this.arrayBuffer, 0, 1)
  }

  /**
   * The ArrayBuffer for the next view of memory below 4 GiB.
   * @throws AllocatorError `ERR_HEAP_CORRUPT` if it was taken and there is no other: without the addon
   */
  get current(): ArrayBuffer {
    return this.probe.length !== 0 ? this.arrayBuffer : this.renewed()
  }

  /**
   * The same for `length` bytes anywhere. Before the first view above 4 GiB is made, V8 is kept from ever detaching the ArrayBuffer: on
   * Node 20 and 22 a byte stream's reader that takes such a view ends the process, since CopyArrayBuffer insists on a 32-bit offset.
   */
  over(address: number, length: number): ArrayBuffer {
    const { current } = this
    if (!this.isPinned && address + length > PINNED_FROM) {
      this.mapping.pin(current)
      this.isPinned = true
    }
    return current
  }

  /** The place for a view of `length` bytes from an address on, which in debug mode ends with its block. */
  at(address: number, length: number): ViewPlace {
    return { buffer: this.over(address, length), byteOffset: address }
  }

  /** The address of a view's first byte; -1 if it isn't over memory from here. */
  addressOf(view: ArrayBufferView): number {
    return view.buffer === this.arrayBuffer ? view.byteOffset : -1
  }

  /** Called when the block at an address is freed. Here its views stay; debug mode ends them. */
  end(_address: number): void {
    // They see the address's next contents.
  }

  /** The address of the block that a view was over, if the view was ended since; else -1. */
  endedAt(_view: ArrayBufferView): number {
    return -1
  }

  private renewed(): ArrayBuffer {
    const next = this.mapping.unshared()
    if (next.byteLength === 0)
      throw new AllocatorError('ERR_HEAP_CORRUPT', 'the program has transferred the heap’s memory to somewhere else')
    warnOnce(TAKEN)
    this.arrayBuffer = next
    this.probe = new Int8Array(next, 0, 1)
    this.isPinned = false
    return next
  }
}
