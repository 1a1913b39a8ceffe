import { ViewMemory, type ViewPlace } from '../memory/view-memory.ts'

/** The block under one of debug mode's ArrayBuffers. */
interface Window {
  /** The heap's memory, in any of its attachments. */
  readonly memory: ArrayBufferLike
  readonly address: number
  hasEnded: boolean
}

/** This thread's windows, of all heaps. */
const places = new WeakMap<ArrayBufferLike, Window>()

/**
 * The memory of views in debug mode: for each block an ArrayBuffer of its bytes alone, which is detached when the block is freed. So a
 * stale view has length 0, and a write past the end has no effect. Without the addon views are over the whole memory instead.
 */
export class DebugMemory extends ViewMemory {
  /** Each block's ArrayBuffers, by its address: more than one only if the block was first viewed in part, or its ArrayBuffer was transferred. */
  private readonly windows = new Map<number, ArrayBuffer[]>()

  override at(address: number, length: number): ViewPlace {
    const { isolation } = this.mapping
    if (isolation === undefined) return super.at(address, length)
    const windows = this.windows.get(address) ?? []
    let buffer = windows.find((window) => window.byteLength >= length && isolation.offsetOf(window) >= 0)
    if (buffer === undefined) {
      buffer = isolation.window(address, length)
      this.windows.set(address, [...windows, buffer])
      places.set(buffer, { memory: this.mapping.buffer, address, hasEnded: false })
    }
    return { buffer, byteOffset: 0 }
  }

  override addressOf(view: ArrayBufferView): number {
    const place = this.placeOf(view)
    if (place === undefined) return super.addressOf(view)
    return place.hasEnded ? -1 : place.address + view.byteOffset
  }

  override end(address: number): void {
    const windows = this.windows.get(address)
    if (windows === undefined) return
    this.windows.delete(address)
    for (const window of windows) {
      places.get(window)!.hasEnded = true
      // An ArrayBuffer that the program has marked untransferable can't be detached: its views see poison.
      this.mapping.isolation?.detach(window)
    }
  }

  override endedAt(view: ArrayBufferView): number {
    const place = this.placeOf(view)
    return place?.hasEnded ? place.address : -1
  }

  private placeOf({ buffer }: ArrayBufferView): Window | undefined {
    const place = places.get(buffer)
    const isOurs = place?.memory === this.mapping.buffer || (place !== undefined && this.mapping.isUnder(place.memory))
    return isOurs ? place : undefined
  }
}
