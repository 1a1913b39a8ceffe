import { AllocatorError } from '../base/errors.ts'
import { Page } from '../memory/page.ts'
import { ObjectState } from '../tcmalloc/object-state.ts'
import { Span, SpanEntry } from '../tcmalloc/span.ts'
import type { TCMalloc } from '../tcmalloc/tcmalloc.ts'
import { Locks } from '../threads/locks.ts'

/** The registry's own words, in `TCMalloc.arenaWords`. */
const enum Word {
  Lock = 0,
  /** The count of deaths up to which arenas of dead threads were ended; another value if that work is unfinished. */
  ClearedDeaths = 32,
  /** The highest slot that was ever in use. */
  Used = 33,
  /** The slot that was given up last, 0 for none; the others follow by `Next`. */
  Free = 34,
  /** The granule of a chunk that the lock's holder is giving back, or 0. */
  Giving = 35,
}

/** The words of an arena's slot. A slot is the index of its first word. */
const enum Slot {
  /** Odd while the arena is open; a value never comes again. */
  Generation = 0,
  State = 1,
  /** The tag of the thread with which the arena ends, or 0. */
  Owner = 2,
  /** The granule of the newest chunk, or 0. The others follow by `Span.Next` of the chunk's span. */
  Chunks = 3,
  Parent = 4,
  /** The child that was made last, or 0; its siblings follow by `Next`. */
  Child = 5,
  Next = 6,
  Previous = 7,
  Words = 8,
}

const enum State {
  Free = 0,
  Open = 1,
  /** No thread allocates from it any more, and the next thread to find it finishes the end that another has begun. */
  Ending = 2,
}

/** The first slot: behind the registry's words, so 0 is none. */
const FIRST = 64
/** A slot whose generation has reached this isn't used again. */
const LAST_GENERATION = 2 ** 31 - 2

/** A thread has at least so many arenas before it looks for ended ones among them. */
const LEAST_PRUNED = 64

/** An arena's place in the registry, as opened or found. */
export interface ArenaPlace {
  readonly slot: number
  readonly generation: number
}

/** An arena in the thread that made it. */
export interface LocalArena extends ArenaPlace {
  readonly endsWithThread: boolean
  /** Nothing more can be allocated from it here. */
  shut(): void
}

/**
 * The arenas of a heap, of all its threads: which are open, who owns them, and their memory. All of it is in the heap's tables, so any
 * thread can end an arena, and a program's writes can't damage it. A chunk is a span, and the list of an arena's chunks goes through the
 * spans' entries.
 *
 * Everything but a look at a generation is done under one lock. A thread may be struck (docs/protocol.md) at function entries, loops and
 * Atomics. So words that belong together are stored by statements with none of these between them. Only two things can be half done: the
 * end of an arena, which says `Ending`, and a chunk on its way back to the heap, which has a word. Each is finished by the thread that takes
 * over the lock, or that clears up. A chunk on its way to an arena is in the thread's hand.
 */
export class ArenaRegistry {
  readonly words: Int32Array
  private readonly tiers: TCMalloc
  private readonly locks: Locks
  private readonly tag: number
  /** The arenas that this thread has made and not disposed of. */
  private readonly local = new Set<LocalArena>()
  private pruneAt: number = LEAST_PRUNED

  constructor(tiers: TCMalloc) {
    this.tiers = tiers
    this.words = tiers.arenaWords
    const { slots, tag } = tiers.member.thread()
    this.tag = tag
    this.locks = new Locks(this.words, Word.Lock, slots, tag, { mend: () => this.mendAll(), check: () => {} })
    slots.ownLocks.add(this.locks)
  }

  /** Opens an arena. @throws AllocatorError `ERR_HEAP_OUT_OF_MEMORY` if there are too many; `ERR_HEAP_STALE_HANDLE` */
  open(endsWithThread: boolean, parent: ArenaPlace | undefined): ArenaPlace | undefined {
    this.clearUp()
    const { words } = this
    const owner = endsWithThread ? this.tag : 0
    return this.locked(() => {
      if (parent !== undefined && !this.isOpen(parent)) return undefined
      const above = parent === undefined ? 0 : parent.slot
      const reused = words[Word.Free]!
      const slot = reused !== 0 ? reused : Math.max(FIRST, words[Word.Used]! + Slot.Words)
      if (slot + Slot.Words > words.length) throw tooMany((words.length - FIRST) / Slot.Words)
      const generation = words[slot + Slot.Generation]! + 1
      const sibling = above === 0 ? 0 : words[above + Slot.Child]!
      if (reused !== 0) words[Word.Free] = words[slot + Slot.Next]!
      else words[Word.Used] = slot
      words[slot + Slot.Generation] = generation
      words[slot + Slot.Owner] = owner
      words[slot + Slot.Chunks] = 0
      words[slot + Slot.Child] = 0
      words[slot + Slot.Parent] = above
      words[slot + Slot.Previous] = 0
      words[slot + Slot.Next] = sibling
      words[slot + Slot.State] = State.Open
      if (sibling !== 0) words[sibling + Slot.Previous] = slot
      if (above !== 0) words[above + Slot.Child] = slot
      return { slot, generation }
    })
  }

  /** The system's error number for the last 0 that `addChunk` returned; 0 if the limit was reached. */
  get lastErrno(): number {
    return this.tiers.lastErrno
  }

  /** Whether an arena is still open under its generation: one load. */
  isOpen({ slot, generation }: ArenaPlace): boolean {
    return this.words[slot] === generation
  }

  /** Whether a slot was ever in use: a token may name anything. */
  isSlot(slot: number): boolean {
    return slot >= FIRST && slot <= this.words[Word.Used]! && (slot - FIRST) % Slot.Words === 0
  }

  /** One more chunk for an arena: the granule of a span of at least `bytes`; 0 if there is no memory, -1 if the arena has ended. */
  addChunk(place: ArenaPlace, bytes: number): number {
    const granule = this.tryChunk(place, bytes)
    return granule === 0 && this.clearUp() + this.tiers.emptyQuarantine() > 0 ? this.tryChunk(place, bytes) : granule
  }

  private tryChunk(place: ArenaPlace, bytes: number): number {
    const { words, tiers } = this
    const { spans, states } = tiers.tables
    return this.locked(() => {
      if (!this.isOpen(place)) return -1
      // An arena's `slot` is a getter, and a call is where a thread can be struck: none may come between the last four stores.
      const chunks = place.slot + Slot.Chunks
      const { block } = tiers.hand
      const granule = tiers.hand.takeLarge(bytes)
      if (granule === 0) return 0
      const next = entryOf(granule) + Span.Next
      block[0] = 0
      states[granule] = ObjectState.Chunk
      spans[next] = words[chunks]!
      words[chunks] = granule
      return granule
    })
  }

  /** Frees the chunks that came after the one at `granule`. False if the arena has ended. */
  cut(place: ArenaPlace, granule: number): boolean {
    return this.locked(() => {
      if (!this.isOpen(place)) return false
      this.freeChunks(place.slot, granule)
      return true
    })
  }

  /** Ends an arena and all arenas made from it, in any thread. Does nothing if it has ended. */
  end(place: ArenaPlace): void {
    this.locked(() => {
      if (this.isOpen(place)) this.finish(place.slot)
    })
  }

  /** This thread has made an arena. */
  add(arena: LocalArena): void {
    // Arenas that ended with their parents, or by other threads, were never taken out.
    if (this.local.size >= this.pruneAt) {
      this.prune()
      this.pruneAt = 2 * this.local.size + LEAST_PRUNED
    }
    this.local.add(arena)
  }

  /** Takes out the arenas that have ended in any way. */
  prune(): void {
    for (const arena of this.local) {
      if (this.isOpen(arena)) continue
      arena.shut()
      this.local.delete(arena)
    }
  }

  /** This thread is done with an arena. */
  remove(arena: LocalArena): void {
    this.local.delete(arena)
  }

  /** Ends the arenas of dead threads, if any thread died since the last time. Returns how many. */
  clearUp(): number {
    const { words } = this
    const { slots } = this.tiers.tables
    if (words[Word.ClearedDeaths] === slots.deaths) return 0
    return this.locked(() => {
      const deaths = slots.countDeaths()
      let ended = this.mendAll()
      for (let slot = FIRST; slot <= words[Word.Used]!; slot += Slot.Words) {
        const owner = words[slot + Slot.Owner]!
        if (words[slot + Slot.State] !== State.Open || owner === 0 || slots.isAlive(owner)) continue
        this.finish(slot)
        ended++
      }
      words[Word.ClearedDeaths] = deaths
      return ended
    })
  }

  /** The heap is about to be closed in this thread: ends the arenas that end with it; from the others, nothing more can be allocated here. */
  close(): void {
    for (const arena of this.local) {
      if (arena.endsWithThread) this.end(arena)
      arena.shut()
    }
    this.local.clear()
  }

  /** Finishes the unfinished work; returns how many arenas that ended. */
  private mendAll(): number {
    const { words } = this
    const { states } = this.tiers.tables
    // Only under the lock does a block become a chunk: so it is still the one that was to be freed.
    const giving = words[Word.Giving]!
    if (giving !== 0 && states[giving] === ObjectState.Chunk) this.tiers.free(giving, ObjectState.Chunk)
    words[Word.Giving] = 0
    let finished = 0
    for (let slot = FIRST; slot <= words[Word.Used]!; slot += Slot.Words) {
      if (words[slot + Slot.State] !== State.Ending) continue
      this.finish(slot)
      finished++
    }
    return finished
  }

  /** Ends an arena after all arenas made from it, the youngest first. REQUIRES: the caller has the lock. */
  private finish(root: number): void {
    const { words } = this
    let slot = root
    for (;;) {
      if (words[slot + Slot.State] === State.Open) {
        words[slot + Slot.Generation]!++
        words[slot + Slot.State] = State.Ending
      }
      const child = words[slot + Slot.Child]!
      if (child !== 0) {
        slot = child
        continue
      }
      this.freeChunks(slot, 0)
      const parent = words[slot + Slot.Parent]!
      const next = words[slot + Slot.Next]!
      const previous = words[slot + Slot.Previous]!
      if (next !== 0) words[next + Slot.Previous] = previous
      if (previous !== 0) words[previous + Slot.Next] = next
      else if (parent !== 0) words[parent + Slot.Child] = next
      words[slot + Slot.State] = State.Free
      if (words[slot + Slot.Generation]! < LAST_GENERATION) {
        words[slot + Slot.Next] = words[Word.Free]!
        words[Word.Free] = slot
      }
      if (slot === root) return
      slot = parent
    }
  }

  /** Frees chunks, the newest first, up to the one at `last`. */
  private freeChunks(slot: number, last: number): void {
    const { words, tiers } = this
    const { spans } = tiers.tables
    for (;;) {
      const granule = words[slot + Slot.Chunks]!
      if (granule === 0 || granule === last) return
      const next = spans[entryOf(granule) + Span.Next]!
      tiers.countOwned(granule, 1)
      words[Word.Giving] = granule
      words[slot + Slot.Chunks] = next
      tiers.free(granule, ObjectState.Chunk)
      words[Word.Giving] = 0
    }
  }

  private locked<T>(run: () => T): T {
    return this.locks.holding(Word.Lock, () => {
      try {
        return run()
      } catch (error) {
        // Half-ended arenas are finished at the next opportunity.
        this.words[Word.ClearedDeaths] = (this.tiers.tables.slots.deaths - 1) | 0
        throw error
      }
    })
  }
}

/** Where a chunk's span has its entry. */
function entryOf(granule: number): number {
  return (granule >>> Page.GranuleShift) << SpanEntry.Shift
}

function tooMany(count: number): AllocatorError {
  return new AllocatorError('ERR_HEAP_OUT_OF_MEMORY', `a heap has at most ${count} arenas open`)
}
