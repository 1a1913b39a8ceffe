import { AllocatorError } from '../base/errors.ts'
import { warnOnce } from '../base/warning.ts'
import type { Mapping } from '../os/mapper.ts'

const TAKEN =
  'a byte stream or ArrayBuffer.prototype.transfer has taken the ArrayBuffer of a heap’s buffers: those made before have length 0 now. Give it a copy, or an isolated buffer'

/** What a view is made over. */
export interface ViewPlace {
  readonly buffer: ArrayBuffer
  readonly byteOffset: number
}

/** The end of the last view that a byte stream's reader can take without ending the process: see `over`. */
const PINNED_FROM = 2 ** 32

/**
 * The ArrayBuffer that this thread's views of a heap are over.
 *
 * A program can't take it away by accident: it is too long to be cloned, and marked untransferable. But on Node 20 and 22 the mark doesn't
 * keep byte streams and `ArrayBuffer.prototype.transfer` from it. What they take is one object, not the memory: views that were made before
 * have length 0 from then on, and whoever needs the next view gets one over another ArrayBuffer.
 */
export class ViewMemory {
  protected readonly mapping: Mapping
  private arrayBuffer: ArrayBuffer
  /** Its length is 0 once the ArrayBuffer was taken: one load tells. `byteLength` of the buffer would be a call. */
  private probe: Int8Array
  private isPinned = false

  constructor(mapping: Mapping) {
    this.mapping = mapping
    this.arrayBuffer = mapping.unshared()
    this.probe = new Int8Array(this.arrayBuffer, 0, 1)
  }

  /**
   * What the next view of memory below 4 GiB is made over.
   * @throws AllocatorError `ERR_HEAP_CORRUPT` where it was taken and was all that there is: without the addon
   */
  get current(): ArrayBuffer {
    return this.probe.length !== 0 ? this.arrayBuffer : this.renewed()
  }

  /**
   * The same for `length` bytes anywhere. Before the first view above 4 GiB is made, V8 is kept from ever detaching the ArrayBuffer: a reader
   * of a byte stream that takes such a view ends the process on Node 20 and 22, whose CopyArrayBuffer insists on an offset of 32 bits.
   */
  over(address: number, length: number): ArrayBuffer {
    const { current } = this
    if (!this.isPinned && address + length > PINNED_FROM) {
      this.mapping.pin(current)
      this.isPinned = true
    }
    return current
  }

  /** Where a view of `length` bytes from an address on is to be made, if it is to end with the block in debug mode. */
  at(address: number, length: number): ViewPlace {
    return { buffer: this.over(address, length), byteOffset: address }
  }

  /** The address of the first byte of a view over what was handed out here; -1 for any other. */
  addressOf(view: ArrayBufferView): number {
    return view.buffer === this.arrayBuffer ? view.byteOffset : -1
  }

  /** The block at an address is nobody's any more. Here its views stay; debug mode ends them. */
  end(_address: number): void {
    // They see what comes next in its place.
  }

  /** The address of the block that a view was over, if it was ended since; else -1. */
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
