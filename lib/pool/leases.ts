import type { LeakWatch, Watched } from '../buffers/leak-watch.ts'
import { Lease } from './lease.ts'
import type { PoolBlocks, PoolName } from './pool-blocks.ts'
import { Slot } from './pool-slots.ts'

/** What lends buffers. */
export interface Pool extends PoolName {
  readonly blocks: PoolBlocks
  readonly watch: LeakWatch
  /** Makes a slot free again that is out, by its word. False where it isn't any more. */
  makeFree(slot: number, word: number): boolean
  /** Ends it, where it is closed, once nothing is out that it must wait for. */
  finish(): void
}

/** What is watched of a slot, and whether its leak is reported. */
interface WatchedSlot {
  readonly watched: Watched
  readonly noted: boolean
}

/**
 * The buffers of a pool that are out in this thread, and of which more is known than their words say: those that leases have, those
 * that operations hold, and those that are watched for leaks.
 */
export class Leases {
  private readonly pool: Pool
  /** Not held here: a lease that is dropped is a leak, and can be told. */
  private readonly leases = new Map<number, WeakRef<Lease>>()
  /** Leases of buffers that were acquired, and that operations hold. The program's own reference ends by `release`. */
  private readonly held = new Map<number, Lease>()
  private readonly watched = new Map<number, WatchedSlot>()
  private readonly lender = { endLease: (slot: number) => this.end(slot) }

  constructor(pool: Pool) {
    this.pool = pool
  }

  /** A lease of a buffer that was just acquired. */
  leaseOut(slot: number): Lease {
    const { slots } = this.pool.blocks
    const before = this.unwatch(slot)
    slots.change(slot, slots.state(slot), slots.own(Slot.Leased))
    const lease = new Lease(this.lender, slot, this.pool.blocks.viewOf(slot))
    this.leases.set(slot, new WeakRef(lease))
    if (before !== undefined) this.watch(slot, lease, 'lease', Slot.Leased, before.noted)
    return lease
  }

  /** The lease whose buffer a slot's is; undefined where it isn't out on one. */
  of(slot: number): Lease | undefined {
    return this.leases.get(slot)?.deref()
  }

  /** Holds the buffer of a slot that is out, until the returned function is called. Undefined where it is not out. */
  hold(slot: number): (() => void) | undefined {
    const lease = this.of(slot) ?? this.held.get(slot) ?? this.holdAcquired(slot)
    if (lease === undefined) return undefined
    lease.retain()
    let isHeld = true
    return () => {
      if (!isHeld) return
      isHeld = false
      lease.release()
      // Nobody but the program has it any more: it is acquired, as it was before.
      if (lease.references !== 1 || this.held.get(slot) !== lease) return
      this.held.delete(slot)
      // The slots of now: meanwhile they may have grown, or been shared.
      const { slots } = this.pool.blocks
      slots.change(slot, slots.own(Slot.Leased), slots.own(Slot.Acquired))
      this.pool.finish()
    }
  }

  /** The program releases a buffer that operations hold: it goes back after them. False where it is none. */
  releaseHeld(slot: number): boolean {
    const lease = this.held.get(slot)
    if (lease === undefined) return false
    this.held.delete(slot)
    lease.release()
    return true
  }

  /** Gives an acquired slot a view that nobody else has, and watches that. @param noted whether its leak is reported */
  watchBuffer(slot: number, noted: boolean): Buffer {
    const { blocks } = this.pool
    blocks.forgetView(slot)
    const view = blocks.newView(slot)
    blocks.slots.change(slot, blocks.slots.own(Slot.Acquired), blocks.slots.own(Slot.Watched))
    this.watch(slot, view, 'buffer', Slot.Watched, noted)
    return view
  }

  /** Nobody needs to watch a slot's buffer any more. Returns what was watched. */
  unwatch(slot: number): WatchedSlot | undefined {
    const before = this.watched.get(slot)
    if (before === undefined) return undefined
    this.watched.delete(slot)
    this.pool.watch.unwatch(before.watched)
    return before
  }

  private holdAcquired(slot: number): Lease | undefined {
    const { slots } = this.pool.blocks
    const word = slots.state(slot)
    const kind = word & Slot.StateMask
    if (kind !== Slot.Acquired && kind !== Slot.Watched) return undefined
    if (!slots.change(slot, word, slots.own(Slot.Leased))) return undefined
    this.unwatch(slot)
    const lease = new Lease(this.lender, slot, this.pool.blocks.viewOf(slot))
    this.held.set(slot, lease)
    return lease
  }

  private end(slot: number): void {
    this.unwatch(slot)
    this.leases.delete(slot)
    this.held.delete(slot)
    this.pool.makeFree(slot, this.pool.blocks.slots.own(Slot.Leased))
  }

  private watch(slot: number, holder: object, kind: Watched['kind'], state: Slot, noted: boolean): void {
    const { blocks, size, tag } = this.pool
    const word = blocks.slots.own(state)
    const watched: Watched = {
      kind,
      address: blocks.slots.blockOf(slot),
      bytes: size,
      tag,
      isHeld: () => isWatched() && blocks.heap.isOpen && blocks.slots.state(slot) === word,
      giveBack: () => {
        this.leases.delete(slot)
        this.pool.makeFree(slot, word)
      },
      forget: () => {
        if (isWatched()) this.watched.delete(slot)
      },
    }
    const isWatched = () => this.watched.get(slot)?.watched === watched
    this.watched.set(slot, { watched, noted })
    this.pool.watch.watch(holder, watched, noted)
  }
}
