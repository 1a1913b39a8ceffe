import { ViewMemory, type ViewPlace } from '../memory/view-memory.ts'

/**
 * What views of a heap in debug mode are over: each over an ArrayBuffer of its own, that of the block's bytes alone, which is detached when
 * the block is freed. So a stale one has length 0, and a write past the end goes nowhere. Without the addon there are none of these, and
 * views are over all of the memory.
 */
export class DebugMemory extends ViewMemory {
  /** Those of each block, by its address. */
  private readonly windows = new Map<number, ArrayBuffer[]>()
  private readonly addresses = new WeakMap<ArrayBufferLike, number>()

  override at(address: number, length: number): ViewPlace {
    const window = this.mapping.isolation?.window(address, length)
    if (window === undefined) return super.at(address, length)
    const others = this.windows.get(address)
    if (others === undefined) this.windows.set(address, [window])
    else others.push(window)
    this.addresses.set(window, address)
    return { buffer: window, byteOffset: 0 }
  }

  override addressOf(view: ArrayBufferView): number {
    const address = this.addresses.get(view.buffer)
    return address === undefined ? super.addressOf(view) : address + view.byteOffset
  }

  override end(address: number): void {
    const windows = this.windows.get(address)
    if (windows === undefined) return
    this.windows.delete(address)
    // One that the program has marked untransferable can't be detached: its views see poison.
    for (const window of windows) this.mapping.isolation?.detach(window)
  }
}
