import type { LeakWatch, Watched } from '../buffers/leak-watch.ts'
import type { PassedBlock } from '../buffers/passed-block.ts'
import { Lease } from '../lifetime/lease.ts'
import type { PoolBlocks, PoolName } from './pool-blocks.ts'
import { isLeased, isOut, Slot } from './pool-slots.ts'

/** The pool that lends buffers. */
export interface Pool extends PoolName {
  readonly blocks: PoolBlocks
  readonly watch: LeakWatch
  readonly leaseWatch: LeakWatch
  /** Frees a slot that is out, by its word. False if it no longer is. */
  makeFree(slot: number, word: number): boolean
  /** Ends a closed pool, if this was the last thing that it waited for. */
  finish(): void
}

/**
 * The buffers that are out in this thread and need more than their words say: those that leases have, those that operations hold, and those
 * that are watched for leaks.
 */
export class Leases {
  private readonly pool: Pool
  /** Weak, since a lease that is dropped is a leak, and is to be reported. */
  private readonly leases = new Map<number, WeakRef<Lease>>()
  /** Leases of buffers that were acquired, and that operations hold. The program's own reference ends by `release`. */
  private readonly held = new Map<number, Lease>()
  private readonly watched = new Map<number, Watched>()
  private readonly lender = {
    endLease: (slot: number) => this.end(slot),
    passLease: (slot: number, view: unknown) => this.pass(slot, (view as Buffer).length),
    beginOperation: () => this.pool.blocks.host.operations.begin(),
  }

  constructor(pool: Pool) {
    this.pool = pool
  }

  /** A lease of the first `length` bytes of a buffer that was just acquired. */
  leaseOut(slot: number, length: number): Lease {
    const { blocks, leaseWatch, size } = this.pool
    const { slots } = blocks
    this.unwatch(slot)
    slots.change(slot, slots.state(slot), slots.own(Slot.Leased))
    const view = length === size ? blocks.viewOf(slot) : blocks.first(slot, length)
    const lease = new Lease(this.lender, slot, view)
    this.leases.set(slot, new WeakRef(lease))
    if (leaseWatch.next()) this.watch(slot, lease, 'lease')
    return lease
  }

  /** The lease that has a slot's buffer; undefined if none of this thread has. */
  of(slot: number): Lease | undefined {
    return this.leases.get(slot)?.deref()
  }

  /** Whether a lease of another thread, or an operation there, has a slot's buffer. */
  isElsewhere(slot: number): boolean {
    const { slots } = this.pool.blocks
    const word = slots.state(slot)
    return isLeased(word) && word !== slots.own(Slot.Leased)
  }

  /** Holds the buffer of a slot that is out, until the returned function is called. Undefined if it is not out. */
  hold(slot: number): (() => void) | undefined {
    const lease = this.of(slot) ?? this.held.get(slot) ?? this.holdAcquired(slot)
    if (lease === undefined) return undefined
    const letGo = lease.hold()
    return () => {
      letGo()
      if (lease.references === 1 && this.held.get(slot) === lease) this.endHeld(slot)
    }
  }

  /** The program releases a buffer that operations hold: the buffer goes back after they end. False if none holds it. */
  releaseHeld(slot: number): boolean {
    const lease = this.held.get(slot)
    if (lease === undefined) return false
    this.held.delete(slot)
    this.unwatch(slot)
    lease.release()
    return true
  }

  /** Gives an acquired slot a view of its own, and watches that view. */
  watchBuffer(slot: number): Buffer {
    const { blocks } = this.pool
    blocks.forgetView(slot)
    const view = blocks.newView(slot)
    blocks.slots.change(slot, blocks.slots.own(Slot.Acquired), blocks.slots.own(Slot.Watched))
    this.watch(slot, view, 'buffer')
    return view
  }

  /** Stops watching a slot's buffer. */
  unwatch(slot: number): void {
    const watched = this.watched.get(slot)
    if (watched === undefined) return
    this.watched.delete(slot)
    this.watchOf(watched.kind).unwatch(watched)
  }

  private holdAcquired(slot: number): Lease | undefined {
    const { slots } = this.pool.blocks
    const word = slots.state(slot)
    if (!isOut(word) || isLeased(word) || !slots.change(slot, word, slots.own(Slot.Leased))) return undefined
    const lease = new Lease(this.lender, slot, this.pool.blocks.viewOf(slot))
    this.held.set(slot, lease)
    return lease
  }

  /** No operation holds it any more: it is acquired, as it was before. */
  private endHeld(slot: number): void {
    const { slots } = this.pool.blocks
    this.held.delete(slot)
    const before = this.watched.has(slot) ? Slot.Watched : Slot.Acquired
    slots.change(slot, slots.own(Slot.Leased), slots.own(before))
    this.pool.finish()
  }

  private end(slot: number): void {
    this.forget(slot)
    this.pool.makeFree(slot, this.pool.blocks.slots.own(Slot.Leased))
  }

  private pass(slot: number, length: number): PassedBlock {
    const { blocks } = this.pool
    const passed = blocks.passSlot(slot, blocks.slots.own(Slot.Leased), length)
    this.forget(slot)
    return passed
  }

  private forget(slot: number): void {
    this.unwatch(slot)
    this.leases.delete(slot)
    this.held.delete(slot)
  }

  private watchOf(kind: Watched['kind']): LeakWatch {
    return kind === 'lease' ? this.pool.leaseWatch : this.pool.watch
  }

  private watch(slot: number, holder: object, kind: Watched['kind']): void {
    const { blocks, size, tag } = this.pool
    const word = blocks.slots.own(kind === 'lease' ? Slot.Leased : Slot.Watched)
    const watched: Watched = {
      kind,
      address: blocks.slots.blockOf(slot),
      bytes: size,
      tag,
      isHeld: () =>
        blocks.host.isOpen &&
        this.watched.get(slot) === watched &&
        (blocks.slots.state(slot) === word || this.held.has(slot)),
      forget: () => {
        if (this.watched.get(slot) === watched) this.watched.delete(slot)
      },
    }
    this.watched.set(slot, watched)
    this.watchOf(kind).watch(holder, watched, true)
  }
}
