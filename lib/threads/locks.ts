import { AllocatorError } from '../base/errors.ts'
import { checkNotPaused } from './paused.ts'
import { type OwnLocks, Tag, type ThreadSlots } from './thread-slots.ts'

/** Words from one lock to the next: two cache lines, since the processor fetches them in pairs. */
const STRIDE = 32

/** Bits of a lock's word besides its owner's tag. */
const enum Bit {
  /** The guarded data may be half changed: this owner, or an earlier one, was struck while it held the lock. */
  Dirty = 0x100,
  /** A thread sleeps until the lock is released. */
  Waited = 0x200,
  /** The owner only reads the guarded data. */
  Reading = 0x400,
  All = 0x700,
}

/** How often a thread checks a lock's word before it sleeps: under a microsecond, about as long as a lock is held. */
const SPINS = 100
/** How often, in milliseconds, a sleeper wakes up to check whether the owner has died. */
const SLEEP_MS = 10
/** A waiter that has slept this long for one live owner, in milliseconds, reports it. */
const MOST_WAIT_MS = 10_000

/** Repairs the data that a lock guards after its owner was struck while holding it. */
export interface Mender {
  /** Repairs the data that `lock` guards. `owner` is the slot of the struck thread. If `mend` is struck itself, it is called again. */
  mend(lock: number, owner: number): void
  /** Throws if waiting is useless. */
  check(): void
}

/**
 * Locks that survive their owners. A lock's word is 0, or its owner's tag plus the lock's own bits. `terminate()`, a vm timeout and a stack
 * overflow strike at function entries, in loops and on entry to every Atomics operation. So a thread may die or be thrown out of its work
 * while it holds a lock, and even the releasing store may not happen. A thread that finds the owner dead, or itself the owner, takes the
 * lock over as dirty, repairs the guarded data and only then clears the dirty bit. If it is struck in turn, the next thread repairs again.
 *
 * Itself is the owner by any of the slots that it has, one for each Heap object. None of them can be at work: JavaScript runs one thing at a
 * time in a thread, and nothing under a lock calls the program.
 */
export class Locks implements OwnLocks {
  private readonly words: Int32Array
  private readonly first: number
  private readonly slots: ThreadSlots
  private readonly tag: number
  private readonly mender: Mender

  /** @param first the index of lock 0's word in `words`; lock n's is n times STRIDE words behind it */
  constructor(words: Int32Array, first: number, slots: ThreadSlots, tag: number, mender: Mender) {
    this.words = words
    this.first = first
    this.slots = slots
    this.tag = tag
    this.mender = mender
  }

  /** REQUIRES: the caller holds no lock. @throws AllocatorError `ERR_HEAP_BUSY` if a live thread keeps it for over 10 s */
  acquire(lock: number): void {
    if (!this.tryAcquire(lock)) throw busy(lock)
  }

  /** The same for a caller that holds other locks and must leave their data as it was: returns false after 10 s. */
  tryAcquire(lock: number): boolean {
    const at = this.first + lock * STRIDE
    return Atomics.compareExchange(this.words, at, 0, this.tag) === 0 || this.contend(lock, this.tag)
  }

  /** The same for a thread that only reads: if it dies meanwhile, nothing needs repair. */
  private tryAcquireReading(lock: number): boolean {
    const at = this.first + lock * STRIDE
    const word = this.tag | Bit.Reading
    return Atomics.compareExchange(this.words, at, 0, word) === 0 || this.contend(lock, word)
  }

  /**
   * Runs `read` with all of `order` held for reading. REQUIRES: the caller holds none, and `order` is a permitted locking order.
   * @throws AllocatorError `ERR_HEAP_BUSY`
   */
  reading<T>(order: readonly number[], read: () => T): T {
    let held = 0
    try {
      for (const lock of order) {
        if (!this.tryAcquireReading(lock)) throw busy(lock)
        held++
      }
      return read()
    } finally {
      while (held > 0) this.release(order[--held]!)
    }
  }

  /** Runs `work` with a lock held. REQUIRES: the caller holds no locks but earlier ones in the order. @throws AllocatorError `ERR_HEAP_BUSY` */
  holding<T>(lock: number, work: () => T): T {
    this.acquire(lock)
    try {
      return work()
    } finally {
      this.release(lock)
    }
  }

  release(lock: number): void {
    const at = this.first + lock * STRIDE
    if ((Atomics.exchange(this.words, at, 0) & Bit.Waited) !== 0) Atomics.notify(this.words, at, 1)
  }

  /** Of a single lock: mends and releases it if this thread holds it by this slot. REQUIRES: this thread is in the middle of nothing */
  settle(): void {
    if (this.owner(0) !== this.tag) return
    this.acquire(0)
    this.release(0)
  }

  /**
   * Of a single lock whose data needs no repair: releases it if its owner is dead. Else the word might stay until another owner has that tag,
   * after 2^21 claims of the slot.
   */
  leaveDead(): void {
    const { words, first } = this
    const word = Atomics.load(words, first)
    const owner = word & ~Bit.All
    if (owner === 0 || this.slots.isAlive(owner)) return
    if (Atomics.compareExchange(words, first, word, 0) === word) Atomics.notify(words, first, 1)
  }

  /** Whether a lock's data waits for a repair or is being repaired. */
  isDirty(lock: number): boolean {
    return (Atomics.load(this.words, this.first + lock * STRIDE) & Bit.Dirty) !== 0
  }

  /** The owner's tag without the lock's bits; 0 if the lock is free. */
  owner(lock: number): number {
    return Atomics.load(this.words, this.first + lock * STRIDE) & ~Bit.All
  }

  /** Takes a lock that isn't free: waits for its owner, or takes it over from a struck one. */
  private contend(lock: number, own: number): boolean {
    const { words } = this
    const at = this.first + lock * STRIDE
    // Whole sleeps count, and not a clock's time, which goes on while the process is stopped.
    let slept = 0
    let waitedFor = 0
    // After a sleep with the Waited bit: other threads may still be asleep, since a notification wakes only one.
    let taken = own
    for (let spins = 0; ; spins++) {
      const word = Atomics.load(words, at)
      if (word === 0) {
        if (Atomics.compareExchange(words, at, 0, taken) === 0) return true
        continue
      }
      const owner = word & ~Bit.All
      const isOwn = owner === this.tag || this.slots.isOwnTag(owner)
      if (isOwn || !this.slots.isAlive(owner)) {
        if (isOwn) checkNotPaused()
        if (this.takeOver(lock, word, taken)) return true
        continue
      }
      if (spins < SPINS) continue
      if ((word & Bit.Waited) === 0) {
        Atomics.compareExchange(words, at, word, word | Bit.Waited)
        continue
      }
      if (waitedFor !== owner) {
        waitedFor = owner
        slept = 0
      } else if (slept >= MOST_WAIT_MS) return false
      this.mender.check()
      if (Atomics.wait(words, at, word, SLEEP_MS) === 'timed-out') {
        slept += SLEEP_MS
        // The owner may have been struck long ago, and not come back to the heap since.
        this.slots.ring(owner)
      }
      taken = own | Bit.Waited
    }
  }

  /** Takes the lock over from a struck owner. False if another thread was faster. */
  private takeOver(lock: number, word: number, taken: number): boolean {
    const { words } = this
    const at = this.first + lock * STRIDE
    const waited = (word | taken) & Bit.Waited
    const dirty = (word & Bit.Reading) === 0 || (word & Bit.Dirty) !== 0
    if (!dirty) return Atomics.compareExchange(words, at, word, taken | waited) === word
    if (Atomics.compareExchange(words, at, word, this.tag | Bit.Dirty | waited) !== word) return false
    this.mender.mend(lock, (word & Tag.SlotMask) - 1)
    // The Waited bit stays: a thread may have begun to wait meanwhile.
    Atomics.and(words, at, ~Bit.Dirty)
    if ((taken & Bit.Reading) !== 0) Atomics.or(words, at, Bit.Reading)
    return true
  }
}

/** The error for a lock that a live thread keeps for too long. */
export function busy(lock: number): AllocatorError {
  return new AllocatorError('ERR_HEAP_BUSY', `a worker has held lock ${lock} for over ${MOST_WAIT_MS / 1000} s`)
}
