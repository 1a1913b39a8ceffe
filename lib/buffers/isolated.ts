import type { Address } from '../base/allocator.ts'
import { AllocatorError } from '../base/errors.ts'
import { Granule } from '../memory/page.ts'
import { type IsolatedBlocks, NoBlock } from '../tcmalloc/isolated-blocks.ts'
import type { TCMalloc } from '../tcmalloc/tcmalloc.ts'
import { notOurs } from '../tcmalloc/wrong-address.ts'
import { HeapView } from './heap-view.ts'
import type { OwnerStats } from './owner-stats.ts'

/** The least number of a thread's tagged buffers before it looks for those that are gone. */
const LEAST_PRUNED = 64

/** An isolated buffer held by operations. */
interface Held {
  operations: number
  /** Whether it was freed meanwhile: then the last operation to end frees it. */
  isFreed: boolean
}

/** An isolated buffer that was allocated with a tag. */
interface Tagged {
  readonly buffer: WeakRef<ArrayBuffer>
  readonly stats: OwnerStats
}

/**
 * A heap's isolated buffers, as one thread sees them. To a program each is an ArrayBuffer with views, to the tiers a block that only V8
 * frees. A buffer is found by its bytes' address, whichever thread it was transferred to.
 */
export class IsolatedBuffers {
  private readonly host: { readonly isOpen: boolean }
  private readonly tiers: TCMalloc
  private readonly held = new WeakMap<ArrayBufferLike, Held>()
  private tagged: Tagged[] = []
  private pruneAt = LEAST_PRUNED

  constructor(host: { readonly isOpen: boolean }, tiers: TCMalloc) {
    this.host = host
    this.tiers = tiers
  }

  /** Checks that isolated buffers are supported. @throws AllocatorError `ERR_HEAP_UNSUPPORTED` */
  check(): void {
    if (this.tiers.isolated === undefined)
      throw new AllocatorError('ERR_HEAP_UNSUPPORTED', 'without the addon there are no isolated buffers')
  }

  /** Turns a live block into an ArrayBuffer of `length` bytes, which V8 frees. REQUIRES: `check` has passed */
  isolate(address: Address, length: number, tag: string | undefined): ArrayBuffer {
    const granule = address / Granule.Bytes
    const buffer = this.blocks.isolate(granule, length)
    // No thread owns it any more, so no thread's death loses it.
    this.tiers.countOwned(granule, -1)
    if (tag !== undefined) this.note({ buffer: new WeakRef(buffer), stats: { tag, buffers: 1, bytes: length } })
    return buffer
  }

  /** The address of the block that a view starts with. @throws AllocatorError `ERR_HEAP_INVALID_ADDRESS`, `ERR_HEAP_DOUBLE_FREE` */
  addressOf(view: ArrayBufferView): Address {
    const granule = this.tiers.isolated?.granuleOf(view.buffer) ?? NoBlock.Elsewhere
    // Read `byteOffset` only now: a DataView's throws if its buffer was detached.
    if (granule === NoBlock.Detached)
      throw new AllocatorError('ERR_HEAP_DOUBLE_FREE', 'the buffer was detached: freed already, or transferred')
    if (granule === NoBlock.Elsewhere) throw notOurs(view.byteOffset)
    const address = granule * Granule.Bytes
    if (view.byteOffset === 0) return address
    throw new AllocatorError('ERR_HEAP_INVALID_ADDRESS', "the view doesn't start where its isolated buffer does", {
      address: address + view.byteOffset,
    })
  }

  /**
   * Frees the block that a view starts with: all views of it have length 0 from now on, or once the operations that hold it are done. If a
   * system operation still uses the bytes, V8 frees them after that.
   * @throws as `addressOf`; AllocatorError `ERR_HEAP_UNSUPPORTED` if the buffer was marked untransferable
   */
  free(view: ArrayBufferView): void {
    const key = HeapView.keyOf(view, this)
    const address = key < 0 ? 0 : this.addressOf(view)
    const held = this.held.get(view.buffer)
    if (key < 0 || held?.isFreed)
      throw new AllocatorError('ERR_HEAP_DOUBLE_FREE', 'the isolated buffer was freed already')
    if (held !== undefined) held.isFreed = true
    else if (!this.detach(view.buffer)) {
      const message = 'a buffer that was marked untransferable can only be freed by V8, once it is collected'
      throw new AllocatorError('ERR_HEAP_UNSUPPORTED', message, { address })
    }
    if (key > 0) HeapView.revoke(view)
  }

  /**
   * Holds the buffer under a view until the first call of the returned function; a free meanwhile takes effect after that. Undefined if it
   * isn't an isolated buffer of this heap. @throws AllocatorError `ERR_HEAP_DOUBLE_FREE` if it was freed
   */
  hold({ buffer }: ArrayBufferView): (() => void) | undefined {
    const held = this.held.get(buffer) ?? { operations: 0, isFreed: false }
    if (held.isFreed) throw new AllocatorError('ERR_HEAP_DOUBLE_FREE', 'the isolated buffer was freed already')
    if ((this.tiers.isolated?.granuleOf(buffer) ?? NoBlock.Elsewhere) < 0) return undefined
    this.held.set(buffer, held)
    held.operations++
    let isOver = false
    return () => {
      if (isOver) return
      isOver = true
      if (--held.operations > 0) return
      this.held.delete(buffer)
      if (held.isFreed) this.detach(buffer)
    }
  }

  /** The buffers that were allocated with a tag in this thread and are still here. */
  ownerStats(): OwnerStats[] {
    this.prune()
    return this.tagged.map(({ stats }) => stats)
  }

  /** Takes the block from its buffer, and frees it. False if the buffer can't be detached. */
  private detach(buffer: ArrayBufferLike): boolean {
    if (!this.blocks.detach(buffer)) return false
    if (this.host.isOpen) this.tiers.freeCollected()
    return true
  }

  private note(tagged: Tagged): void {
    if (this.tagged.length >= this.pruneAt) {
      this.prune()
      this.pruneAt = 2 * this.tagged.length + LEAST_PRUNED
    }
    this.tagged.push(tagged)
  }

  /** Removes the buffers that were collected, freed or transferred. */
  private prune(): void {
    this.tagged = this.tagged.filter(({ buffer }) => {
      const held = buffer.deref()
      return held !== undefined && this.blocks.granuleOf(held) >= 0
    })
  }

  private get blocks(): IsolatedBlocks {
    return this.tiers.isolated!
  }
}
