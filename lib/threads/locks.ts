import { AllocatorError } from '../base/errors.ts'
import { Tag, type ThreadSlots } from './thread-slots.ts'

/** Words from one lock to the next: two cache lines, since the processor fetches them in pairs. */
const STRIDE = 32

/** Bits of a lock's word beside its owner's tag. */
const enum Bit {
  /** What the lock guards may be half changed: its owner, or one before, was struck while it held it. */
  Dirty = 0x100,
  /** Somebody sleeps until it is released. */
  Waited = 0x200,
  /** The owner only reads what it guards. */
  Reading = 0x400,
  All = 0x700,
}

/** So often is a lock's word looked at before the thread sleeps: under a microsecond, about what a lock is held for. */
const SPINS = 100
/** A sleeper wakes up so often, in milliseconds, and looks whether the owner has died. */
const SLEEP_MS = 10
/** A live owner that keeps a lock for longer than this, in milliseconds, is reported. */
const MOST_WAIT_MS = 10_000

/** Who repairs what a lock guards, when its owner was struck while it held it. */
export interface Mender {
  /** Makes what `lock` guards whole again. `owner` is the slot of the one that was struck. May itself be struck, and is called again then. */
  mend(lock: number, owner: number): void
  /** Throws where there is no use in waiting any more. */
  check(): void
}

/**
 * Locks that survive their owners. A word is 0, or the tag of the owner with bits of its own. `terminate()`, a vm timeout and
 * a stack overflow strike at function entries, loops and on entry to every Atomics operation: so a thread may die, or be thrown
 * out of its work, while it holds a lock, and even the store that releases it may not happen. So whoever finds the owner dead,
 * or finds itself the owner, takes the lock over as dirty, repairs what it guards, and only then clears the dirty bit: if it
 * is struck in turn, the next one repairs again.
 */
export class Locks {
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

  /** REQUIRES: the caller holds no lock. @throws AllocatorError `ERR_HEAP_BUSY` where a live thread keeps it for over 10 s */
  acquire(lock: number): void {
    if (!this.tryAcquire(lock)) throw busy(lock)
  }

  /** The same where the caller holds others, and has to leave what they guard as it was: false after 10 s. */
  tryAcquire(lock: number): boolean {
    const at = this.first + lock * STRIDE
    return Atomics.compareExchange(this.words, at, 0, this.tag) === 0 || this.contend(lock, this.tag)
  }

  /** The same for a thread that only reads: if it dies meanwhile, nothing needs a repair. */
  private tryAcquireReading(lock: number): boolean {
    const at = this.first + lock * STRIDE
    const word = this.tag | Bit.Reading
    return Atomics.compareExchange(this.words, at, 0, word) === 0 || this.contend(lock, word)
  }

  /**
   * Runs `read` with all of `order` held for reading. REQUIRES: the caller holds none, and the order is one that locks may be
   * taken in. @throws AllocatorError `ERR_HEAP_BUSY`
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

  /** Runs `work` with a lock held. REQUIRES: the caller holds none, but one that comes before. @throws AllocatorError `ERR_HEAP_BUSY` */
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

  /** Whether what a lock guards waits for a repair, or is just being repaired. */
  isDirty(lock: number): boolean {
    return (Atomics.load(this.words, this.first + lock * STRIDE) & Bit.Dirty) !== 0
  }

  /** The owner's tag without the lock's bits; 0 where nobody holds it. */
  owner(lock: number): number {
    return Atomics.load(this.words, this.first + lock * STRIDE) & ~Bit.All
  }

  /** Takes a lock that isn't free: waits for its owner, or takes it over from one that was struck. */
  private contend(lock: number, own: number): boolean {
    const { words } = this
    const at = this.first + lock * STRIDE
    let since = 0
    let waitedFor = 0
    // After a sleep others may still be asleep, whom the one notification didn't wake.
    let taken = own
    for (let spins = 0; ; spins++) {
      const word = Atomics.load(words, at)
      if (word === 0) {
        if (Atomics.compareExchange(words, at, 0, taken) === 0) return true
        continue
      }
      const owner = word & ~Bit.All
      if (owner === this.tag || !this.slots.isAlive(owner)) {
        if (this.takeOver(lock, word, taken)) return true
        continue
      }
      if (spins < SPINS) continue
      if ((word & Bit.Waited) === 0) {
        Atomics.compareExchange(words, at, word, word | Bit.Waited)
        continue
      }
      const now = Date.now()
      if (waitedFor !== owner) {
        waitedFor = owner
        since = now
      } else if (now - since > MOST_WAIT_MS) return false
      this.mender.check()
      Atomics.wait(words, at, word, SLEEP_MS)
      taken = own | Bit.Waited
    }
  }

  /** From an owner that was struck. False where somebody else was faster. */
  private takeOver(lock: number, word: number, taken: number): boolean {
    const { words } = this
    const at = this.first + lock * STRIDE
    const waited = (word | taken) & Bit.Waited
    const dirty = (word & Bit.Reading) === 0 || (word & Bit.Dirty) !== 0
    if (!dirty) return Atomics.compareExchange(words, at, word, taken | waited) === word
    if (Atomics.compareExchange(words, at, word, this.tag | Bit.Dirty | waited) !== word) return false
    this.mender.mend(lock, (word & Tag.SlotMask) - 1)
    // Somebody may have begun to wait meanwhile: that bit stays.
    Atomics.and(words, at, ~Bit.Dirty)
    if ((taken & Bit.Reading) !== 0) Atomics.or(words, at, Bit.Reading)
    return true
  }
}

/** The error for a lock that a live thread keeps. */
export function busy(lock: number): AllocatorError {
  return new AllocatorError('ERR_HEAP_BUSY', `a worker has held lock ${lock} for over ${MOST_WAIT_MS / 1000} s`)
}
