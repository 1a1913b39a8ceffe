import { Granule } from '../memory/page.ts'
import type { Isolation, Mapping } from '../os/mapper.ts'
import { HeapWord } from './control.ts'
import { ObjectState } from './object-state.ts'
import { AreaWord } from './slot-area.ts'
import type { Tables } from './tables.ts'
import type { ThreadCache } from './thread-cache.ts'

/** The most blocks that one slow path frees, which takes some 50 microseconds: a worker may leave many thousands. */
const MOST_AT_ONCE = 256

/** Values returned for a buffer that is no block. */
export const enum NoBlock {
  /** The buffer's bytes are elsewhere. */
  Elsewhere = -1,
  /** It was detached and has no bytes. */
  Detached = -2,
}

/**
 * Isolated blocks: each in an ArrayBuffer of its own, which V8 frees once nothing needs it. No thread owns an isolated block.
 *
 * V8 may let go of a block in any thread. The shim then puts it on a list and sets the word `HeapWord.Collected`. Threads on a slow path
 * take blocks from the list and free them, one after the other. The native call that takes a block notes it in the slot's area
 * (`AreaWord.Taken`) and sets its state to `Collected`. If the thread is ended before it frees the block, the thread that clears up behind
 * it does. The state tells whether that is still to do; the lock of the block's class, or the page heap's, ensures that only one thread
 * does it.
 */
export class IsolatedBlocks {
  private readonly isolation: Isolation
  private readonly tables: Tables
  private readonly cache: ThreadCache
  private readonly note: number

  /** @param area the area of this thread's slot */
  constructor(isolation: Isolation, tables: Tables, cache: ThreadCache, area: Int32Array) {
    this.isolation = isolation
    this.tables = tables
    this.cache = cache
    this.note = area.byteOffset + AreaWord.Taken * 4
  }

  /** The isolated blocks of a heap; undefined if its memory can't be isolated. */
  static over(
    { isolation }: Mapping,
    tables: Tables,
    cache: ThreadCache,
    area: Int32Array
  ): IsolatedBlocks | undefined {
    return isolation === undefined ? undefined : new IsolatedBlocks(isolation, tables, cache, area)
  }

  /** An ArrayBuffer of the first `length` bytes of a live block, from now on the only way to it. V8 owns the block now, no thread does. */
  isolate(granule: number, length: number): ArrayBuffer {
    const { mapping, states, control } = this.tables
    const flag = control.byteOffset + HeapWord.Collected * 4
    return this.isolation.isolate(granule * Granule.Bytes, length, mapping, states.byteOffset + granule, flag)
  }

  /** The granule of a buffer's isolated block; {@link NoBlock} if it has none. */
  granuleOf(buffer: ArrayBufferLike): number {
    const offset = this.isolation.offsetOf(buffer)
    if (offset < 0) return offset
    const granule = offset / Granule.Bytes
    return this.tables.states[granule] === ObjectState.Isolated ? granule : NoBlock.Elsewhere
  }

  /** Takes a block from its buffer, whose views have length 0 from now on. False if the buffer can't be detached. */
  detach(buffer: ArrayBufferLike): boolean {
    return this.isolation.detach(buffer)
  }

  /** Frees blocks that V8 has let go of: all, or as many as a slow path has time for. REQUIRES: no lock is held but Clearing */
  free(all: boolean): void {
    const { control, mapping } = this.tables
    for (let i = 0; control[HeapWord.Collected] !== 0 && (all || i < MOST_AT_ONCE); i++) {
      this.isolation.take(mapping, this.note)
      this.cache.freeTaken()
    }
  }
}
