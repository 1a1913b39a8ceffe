import { AllocatorError, wrongType } from '../base/errors.ts'
import { HeapView } from '../buffers/heap-view.ts'
import { checkPassed, type PassedBlock, passedBlock, stalePass } from '../buffers/passed-block.ts'
import type { Heap } from '../heap/heap.ts'
import { type HeapHost, HOST } from '../lifetime/host.ts'
import { Granule } from '../memory/page.ts'
import { publish } from './pool-events.ts'
import { isLeased, isOut, type PoolSlots, Slot } from './pool-slots.ts'

/** How messages name a pool. */
export interface PoolName {
  readonly size: number
  readonly tag: string | undefined
}

/** The blocks of a pool and this thread's views of them, by slot. */
export class PoolBlocks {
  slots: PoolSlots
  /** Made when first needed. In a pool of one thread, a free slot has one, unless it was watched. */
  readonly views: (Buffer | undefined)[] = []
  readonly host: HeapHost
  private readonly name: PoolName
  private readonly owner: object
  /** The count of deaths up to which this thread has finished what the dead had begun; at first it has seen none. */
  private seenDeaths = 0
  /** True while a block comes or goes. If it is true at the start, this thread was struck in the middle, and lives on. */
  private isAtWork = false

  /** @param owner the object that views are remembered to belong to */
  constructor(heap: Heap, slots: PoolSlots, name: PoolName, owner: object) {
    this.host = heap[HOST]
    this.slots = slots
    this.name = name
    this.owner = owner
  }

  /** Whether every slot has a block, and there may be more slots. REQUIRES: a slot was asked for in vain */
  get mayGrow(): boolean {
    const { slots } = this
    return !slots.isShared && slots.capacity < slots.most
  }

  /** A slot with a new block, acquired; -1 if no slot is empty. @throws AllocatorError `ERR_HEAP_OUT_OF_MEMORY` */
  make(): number {
    this.mendOwn()
    this.isAtWork = true
    const { slots } = this
    const slot = slots.claimEmpty()
    if (slot >= 0) {
      try {
        const { size, alignment, zero } = slots.shape
        this.host.take(size, alignment, zero === 2)
        slots.place(slot)
        slots.change(slot, slots.own(Slot.Making), slots.own(Slot.Acquired))
      } catch (error) {
        slots.leaveEmpty(slot, Slot.Making)
        this.isAtWork = false
        throw error
      }
    }
    this.isAtWork = false
    if (slot >= 0) publish('grow', 'no idle buffer was there', this.name)
    return slot
  }

  /** Makes a slot in a given state this thread's, to be `drop`ped or `renew`ed. False if its state had changed. */
  take(slot: number, word: number): boolean {
    const { slots } = this
    this.isAtWork = true
    if (slots.change(slot, word, slots.own(Slot.Trimming))) return true
    this.isAtWork = false
    return false
  }

  /** Whether the memory is there: a closed heap takes nothing back, and needs nothing back. */
  get areThere(): boolean {
    return this.host.isOpen
  }

  /** Frees the block of a slot in the state `Trimming`. Its view then counts as given back. */
  drop(slot: number): void {
    const { slots, host } = this
    this.isAtWork = true
    this.forgetView(slot)
    host.tiers.hand.clear()
    slots.displace(slot)
    host.emptyHand()
    slots.leaveEmpty(slot, Slot.Trimming)
    this.isAtWork = false
  }

  /** Frees a slot in the state `Trimming`, filled with zeros if the pool does that, or with debug mode's filling. */
  renew(slot: number): void {
    const { slots } = this
    if (slots.shape.zero === 2) this.zero(slot)
    this.retire(slot)
    slots.free(slot, slots.own(Slot.Trimming))
    this.isAtWork = false
  }

  /** Fills the buffer of a slot with zeros. */
  zero(slot: number): void {
    const { slots, host } = this
    host.bytes.zero(slots.blockOf(slot), slots.shape.size)
  }

  /** This thread's view of a slot. */
  viewOf(slot: number): Buffer {
    const view = this.views[slot]
    if (view !== undefined && this.isAt(view, slot)) return view
    const made = this.newView(slot)
    this.views[slot] = made
    return made
  }

  /** One more view of a slot, not shared with any other user. */
  newView(slot: number): Buffer {
    return this.first(slot, this.name.size)
  }

  /** A view of the first bytes of a slot's block. */
  first(slot: number, length: number): Buffer {
    const { buffer, byteOffset } = this.host.memory.at(this.slots.blockOf(slot), length)
    return HeapView.buffer(buffer, byteOffset, length, this.owner, slot + 1)
  }

  /** Gives up a buffer that is out. @throws as `pool.pass` */
  pass(buffer: ArrayBufferView): PassedBlock {
    const { slots } = this
    const slot = this.slotOf(buffer)
    const word = slots.state(slot)
    if (isLeased(word)) throw this.leased(buffer, "an operation: it can't be passed")
    if (!isOut(word)) throw this.doubleRelease(buffer)
    return this.passSlot(slot, word, this.name.size)
  }

  /** Gives up the first `length` bytes of a slot that is out, by its word. */
  passSlot(slot: number, word: number, length: number): PassedBlock {
    const { slots } = this
    const sequence = slots.nextPass()
    const { generation: owner } = slots
    const passed = passedBlock({ from: 'pool', owner, slot, sequence, address: slots.blockOf(slot), length })
    if (!slots.change(slot, word, slots.passed(sequence))) throw this.doubleRelease(this.viewOf(slot))
    if (this.host.debug !== undefined) this.endViews(slot)
    return passed
  }

  /** Makes the slot of a passed buffer this thread's, acquired; returns it, and the length that was passed. @throws as `pool.adopt` */
  adopt(value: unknown): { slot: number; length: number } {
    const { slots } = this
    const { slot, sequence, address, length } = checkPassed(value, 'pool', slots.generation)
    if (slot >= slots.used || address !== slots.blockOf(slot) || length > this.name.size) throw stalePass()
    // The word doesn't tell the length. One that was changed on its way gives fewer bytes, never others'.
    this.viewOf(slot) // made before the buffer is this thread's, since an error after that would lose it
    if (!slots.adopt(slot, sequence)) throw stalePass()
    return { slot, length }
  }

  /** Drops this thread's view of the slot, which can't be released again. */
  forgetView(slot: number): void {
    const view = this.views[slot]
    if (view !== undefined && HeapView.keyOf(view, this.owner) > 0) HeapView.revoke(view)
    this.views[slot] = undefined
  }

  /**
   * The slot of the buffer that a view starts with, of this thread or another.
   * @throws AllocatorError `ERR_POOL_FOREIGN_BUFFER`; `ERR_POOL_DOUBLE_RELEASE` if its block is gone
   */
  slotOf(buffer: ArrayBufferView): number {
    if (this.isGone(buffer)) throw this.doubleRelease(buffer)
    const key = this.keyOf(buffer)
    if (key > 0) return key - 1
    const slot = this.slots.find(this.host.offsetOf(buffer), 1)
    if (slot < 0) throw this.misuse('ERR_POOL_FOREIGN_BUFFER', buffer, 'is not of this pool')
    return slot
  }

  /** The slot in whose block a view lies; -1 if it lies elsewhere, or its block is gone. */
  slotUnder(view: ArrayBufferView): number {
    if (this.isGone(view)) return -1
    const key = this.keyOf(view)
    if (key > 0) return key - 1
    return this.slots.find(this.host.offsetOf(view), this.name.size)
  }

  /** Whether the block of a view that this thread has made is gone. The memory at its address then has another owner. */
  isGone(view: ArrayBufferView): boolean {
    const key = this.keyOf(view)
    // A closed heap can't tell. And a view whose ArrayBuffer was taken lies at 0, with no bytes.
    const isElsewhere = key > 0 && this.areThere && view.byteLength > 0
    return key < 0 || (isElsewhere && !this.isAt(view, key - 1)) || this.host.memory.endedAt(view) >= 0
  }

  /** In debug mode: a buffer goes back to the pool, and its views end. */
  retire(slot: number): void {
    const { debug } = this.host
    if (debug === undefined) return
    const { size, zero } = this.slots.shape
    this.endViews(slot)
    debug.retire(this.slots.blockOf(slot) / Granule.Bytes, size, zero === 2)
  }

  private endViews(slot: number): void {
    this.forgetView(slot)
    this.host.memory.end(this.slots.blockOf(slot))
  }

  /** In debug mode: an idle buffer was acquired. Returns the error if it was written to while idle; the buffer is then repaired. */
  awaken(slot: number): AllocatorError | undefined {
    const { debug } = this.host
    if (debug === undefined) return undefined
    const { size, zero } = this.slots.shape
    // Another thread may have released the buffer that this one had.
    this.forgetView(slot)
    return debug.awaken(this.slots.blockOf(slot) / Granule.Bytes, size, zero === 2)
  }

  /** In debug mode. @throws AllocatorError `ERR_HEAP_CORRUPT` if bytes past a buffer's end were written */
  checkEnd(slot: number): void {
    if (this.areThere) this.host.debug?.checkEnd(this.slots.blockOf(slot) / Granule.Bytes)
  }

  private isAt(view: ArrayBufferView, slot: number): boolean {
    const block = this.slots.blockOf(slot)
    return view.byteOffset === block || this.host.memory.addressOf(view) === block
  }

  /** Frees the blocks of slots that this thread was working on when it was struck. */
  mendOwn(): void {
    if (!this.isAtWork) return
    const { slots } = this
    for (let slot = 0; slot < slots.used; slot++) {
      const word = slots.state(slot)
      if (word !== slots.own(Slot.Making) && word !== slots.own(Slot.Trimming)) continue
      if (this.take(slot, word)) this.drop(slot)
    }
    this.isAtWork = false
  }

  /** Finishes what dead threads had begun on slots. True if that freed any. */
  clearUp(): boolean {
    const { slots } = this
    if (!slots.isShared) return false
    const deaths = slots.countDeaths()
    if (deaths === this.seenDeaths) return false
    this.seenDeaths = deaths
    let freed = false
    for (let slot = 0; slot < slots.used; slot++) {
      const word = slots.state(slot)
      const kind = word & Slot.StateMask
      if ((kind !== Slot.Making && kind !== Slot.Trimming) || !slots.isDead(word)) continue
      if (!slots.change(slot, word, slots.own(Slot.Making))) continue
      const address = slots.blockOf(slot)
      if (address !== 0 && slots.shape.zero === 2) this.zero(slot)
      if (address !== 0) this.retire(slot)
      slots.change(slot, slots.own(Slot.Making), address === 0 ? Slot.Empty : Slot.Free)
      freed = true
      publish('death', 'a thread died while a buffer came or went', this.name)
    }
    return freed
  }

  doubleRelease(view: ArrayBufferView): AllocatorError {
    return this.misuse('ERR_POOL_DOUBLE_RELEASE', view, 'was given back or passed already')
  }

  leased(view: ArrayBufferView, more: string): AllocatorError {
    return this.misuse('ERR_POOL_LEASED', view, `belongs to a lease or ${more}`)
  }

  leasedElsewhere(view: ArrayBufferView): AllocatorError {
    return this.leased(view, 'an operation of another thread')
  }

  /** The error for a wrong use of a buffer; it is also published to the subscribers. */
  misuse(code: AllocatorError['code'], view: ArrayBufferView, what: string): AllocatorError {
    const key = Math.abs(this.keyOf(view))
    const own = this.host.offsetOf(view)
    // A view whose ArrayBuffer was taken, or that debug mode has ended, no longer knows its address; its slot may.
    const other = key > 0 ? this.slots.blockOf(key - 1) : view.byteOffset
    const address = own < 0 ? other : own
    const error = new AllocatorError(code, `the buffer at ${address} ${what}`, { address })
    publish('misuse', error.message, this.name)
    return this.host.debug?.wrongFree(error) ?? error
  }

  private keyOf(view: ArrayBufferView): number {
    if (!ArrayBuffer.isView(view)) throw wrongType('buffer', 'a view of a buffer', view)
    return HeapView.keyOf(view, this.owner)
  }
}
