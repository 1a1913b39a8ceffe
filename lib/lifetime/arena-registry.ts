import { AllocatorError } from '../base/errors.ts'
import { Page } from '../memory/page.ts'
import { ObjectState } from '../tcmalloc/object-state.ts'
import { Span, SpanEntry } from '../tcmalloc/span.ts'
import type { TCMalloc } from '../tcmalloc/tcmalloc.ts'
import { Locks } from '../threads/locks.ts'

/** The registry's own words, in `TCMalloc.arenaWords`. */
const enum Word {
  Lock = 0,
  /** The count of deaths up to which arenas of the dead were ended; another where something was left undone. */
  ClearedDeaths = 32,
  /** The highest slot that was ever in use. */
  Used = 33,
  /** The slot that was given up last, 0 for none; the others follow by `Next`. */
  Free = 34,
  /** The granule of a chunk that the holder has got from the heap and not given to an arena yet, or 0. */
  Got = 35,
  /** The granule of a chunk that the holder is giving back, or 0. */
  Giving = 36,
}

/** The words of an arena's slot. A slot is the index of its first word. */
const enum Slot {
  /** Odd while the arena is open; never the same again. */
  Generation = 0,
  State = 1,
  /** The tag of the thread with which it ends, or 0. */
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
  /** Nobody allocates from it any more, and whoever comes by finishes what another has begun. */
  Ending = 2,
}

/** The first slot: behind the registry's words, so 0 is none. */
const FIRST = 64
/** A slot whose generation has come so far isn't used again. */
const LAST_GENERATION = 2 ** 31 - 2

/** So many arenas of a thread, at least, before those are looked for that have ended. */
const LEAST_PRUNED = 64

/** What the registry has to tell of an arena that it has opened, or found. */
export interface ArenaPlace {
  readonly slot: number
  readonly generation: number
}

/** An arena as the thread has it that made it. */
export interface LocalArena extends ArenaPlace {
  readonly endsWithThread: boolean
  /** Nothing can be allocated from it here any more. */
  shut(): void
}

/**
 * The arenas of a heap, of all its threads: which are open, whose they are, and what memory they have. All of it is in the heap's tables,
 * so that any thread can end an arena, and what a program writes can't hurt it: a chunk is a span, and the list of an arena's chunks goes
 * through the spans' entries.
 *
 * Everything but a look at a generation is done under one lock. A thread may be struck (docs/protocol.md) at function entries, loops
 * and Atomics: so what belongs together is stored by statements with none of these between them, and nothing is ever half done but the end
 * of an arena, which says `Ending`, and a chunk on its way from the heap or to it, which has a word. That is finished by whoever takes the lock over, or clears up.
 */
export class ArenaRegistry {
  readonly words: Int32Array
  private readonly tiers: TCMalloc
  private readonly locks: Locks
  private readonly tag: number
  /** Those that this thread has made and not disposed of. */
  private readonly local = new Set<LocalArena>()
  private pruneAt: number = LEAST_PRUNED

  constructor(tiers: TCMalloc) {
    this.tiers = tiers
    this.words = tiers.arenaWords
    const { slots, tag } = tiers.member.thread()
    this.tag = tag
    this.locks = new Locks(this.words, Word.Lock, slots, tag, { mend: () => this.mendAll(), check: () => {} })
  }

  /** Opens an arena. @throws AllocatorError `ERR_HEAP_OUT_OF_MEMORY` where there are too many; `ERR_HEAP_STALE_HANDLE` */
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

  /** The system's error number for the last 0 that `addChunk` returned; 0 where it was the limit. */
  get lastErrno(): number {
    return this.tiers.lastErrno
  }

  /** Whether an arena is still what it was: one load. */
  isOpen({ slot, generation }: ArenaPlace): boolean {
    return this.words[slot] === generation
  }

  /** Whether a slot was ever in use: what a token names might be anything. */
  isSlot(slot: number): boolean {
    return slot >= FIRST && slot <= this.words[Word.Used]! && (slot - FIRST) % Slot.Words === 0
  }

  /** One more chunk for an arena: the granule of a span of at least `bytes`; 0 where there is no memory, -1 where the arena has ended. */
  addChunk(place: ArenaPlace, bytes: number): number {
    const granule = this.tryChunk(place, bytes)
    return granule === 0 && this.clearUp() + this.tiers.emptyQuarantine() > 0 ? this.tryChunk(place, bytes) : granule
  }

  private tryChunk(place: ArenaPlace, bytes: number): number {
    const { words, tiers } = this
    const { spans, states } = tiers.tables
    return this.locked(() => {
      if (!this.isOpen(place)) return -1
      const granule = tiers.allocateLarge(bytes, undefined, Word.Got)
      if (granule === 0) return 0
      // It is nobody's share of what the dead hold: it goes with the arena.
      tiers.countOwned(granule, -1)
      const next = entryOf(granule) + Span.Next
      words[Word.Got] = 0
      states[granule] = ObjectState.Chunk
      spans[next] = words[place.slot + Slot.Chunks]!
      words[place.slot + Slot.Chunks] = granule
      return granule
    })
  }

  /** Frees the chunks that came after the one at `granule`. False where the arena has ended. */
  cut(place: ArenaPlace, granule: number): boolean {
    return this.locked(() => {
      if (!this.isOpen(place)) return false
      this.freeChunks(place.slot, granule)
      return true
    })
  }

  /** Ends an arena with all that came of it, in whichever thread they were made. Nothing is done where it has ended. */
  end(place: ArenaPlace): void {
    this.locked(() => {
      if (this.isOpen(place)) this.finish(place.slot)
    })
  }

  /** This thread has made an arena. */
  add(arena: LocalArena): void {
    // Those that ended with their parents, or by other threads, were never taken out.
    if (this.local.size >= this.pruneAt) {
      this.prune()
      this.pruneAt = 2 * this.local.size + LEAST_PRUNED
    }
    this.local.add(arena)
  }

  /** Before statistics are taken: what is to end has ended, and is nobody's. */
  clearUpAndPrune(): void {
    this.clearUp()
    this.prune()
  }

  /** Takes out what has ended in whichever way. */
  private prune(): void {
    for (const arena of this.local) {
      if (this.isOpen(arena)) continue
      arena.shut()
      this.local.delete(arena)
    }
  }

  /** It is done with it. */
  remove(arena: LocalArena): void {
    this.local.delete(arena)
  }

  /** Ends the arenas of threads that have died, if any has since the last time. Returns how many. */
  clearUp(): number {
    const { words } = this
    const { slots } = this.tiers.tables
    if (words[Word.ClearedDeaths] === slots.deaths) return 0
    return this.locked(() => {
      const { deaths } = slots
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

  /** The heap is about to be closed in this thread: so its arenas end that should, and nothing is allocated from the others here. */
  close(): void {
    for (const arena of this.local) {
      if (arena.endsWithThread) this.end(arena)
      arena.shut()
    }
    this.local.clear()
  }

  /** Finishes what was begun; returns how many arenas that ended. */
  private mendAll(): number {
    const { words } = this
    const { states } = this.tiers.tables
    const got = words[Word.Got]!
    if (got !== 0) {
      states[got] = ObjectState.Chunk
      words[Word.Giving] = got
      words[Word.Got] = 0
    }
    // Nobody makes a block a chunk without the lock: so it is still the one that was to go.
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

  /** Ends what came of an arena, the youngest first, and the arena. REQUIRES: the caller has the lock. */
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
        // Whatever is half ended is finished at the next opportunity.
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
