import { AllocatorError, invalidToken } from '../base/errors.ts'
import { Granule, MOST_SYSTEM_PAGE_BYTES, Page, roundUp } from '../memory/page.ts'
import { reserveTables, tablesRefused } from '../memory/reservation.ts'
import type { Mapper, Mapping } from '../os/mapper.ts'
import { ThreadSlots, threadSlotWords } from '../threads/thread-slots.ts'
import { ObjectState, SPARE_SLOT } from './object-state.ts'
import { PassSlot } from './pass-slot.ts'
import { SpanEntry } from './span.ts'

/** Tables that grow with the heap do so in steps of 4 MiB: states for 64 MiB of heap, span entries for 1 GiB. */
const STEP_BYTES = 4 * 2 ** 20
/** The table of passed blocks grows in smaller steps, of 8192 slots: most programs need none or one. */
const PASS_STEP_BYTES = 2 ** 18

/**
 * States reach at least this far whatever the limit: every address that is a small integer then has a state, so a wrong address reads "no
 * object" and is never out of the array's bounds. The part that hasn't grown costs nothing and reads as 0.
 */
const LEAST_STATES = (2 ** 31) >>> Granule.Shift

/** All thread slots, the spare one too. */
const ALL_SLOTS = ObjectState.SlotCount + 1
/** A thread that finds no slot, and the spare one in use, tries again so often, at such intervals: for a second. */
const MOST_TRIES = 500
const TRY_MS = 2

/** The error for a thread that finds no slot. */
export function tooManyWorkers(): AllocatorError {
  return new AllocatorError('ERR_HEAP_TOO_MANY_WORKERS', `a heap serves ${ObjectState.SlotCount} threads at most`)
}

/** The sizes that the tables are made for. */
export interface TableSizes {
  /** Pages of the reservation, from page 0. */
  pages: number
  /** 32-bit words for the tiers' own use. */
  controlWords: number
  /** Bytes for each thread slot. */
  slotBytes: number
  /** True if address space is short: states reach no further than the heap, and a wrong address may be out of their bounds. */
  isTight?: boolean
}

/** A part of the tables. */
interface Section {
  readonly offset: number
  readonly byteLength: number
}

/** A section that grows, and the control word that counts its steps so far. */
interface GrowingSection extends Section {
  readonly stepsWord: number
  readonly stepBytes: number
}

/** The tables' own words of the control section: the steps by which each growing section has grown. */
const SPAN_STEPS = 0
const STATE_STEPS = 1
const PASS_STEPS = 2

/**
 * A heap's metadata, in one mapping beside its memory: a fixed layout with no allocator inside. Numbers are relative to the heap, so they
 * mean the same in every thread. None of it is in object memory, so a program that overwrites memory can't damage the heap.
 *
 *     control | thread slots' words | class per page | past per page | slot areas | pass slots | span entries | object states
 */
export class Tables {
  /** One state per granule; see object-state.ts. */
  readonly states: Int8Array
  /** One size class per page; 0 in large and in free spans. */
  readonly pageClass: Int8Array
  /** One byte per page: see page-past.ts. 0 while the page is as the system gave it at first. */
  readonly pagePast: Int8Array
  /** The same, four pages a word. */
  readonly pagePasts: Int32Array
  /** One entry of eight words per page; see span.ts. */
  readonly spans: Int32Array
  /** One slot of eight words for each block that is passed and not adopted yet; see tcmalloc/pass-slots.ts. */
  readonly passes: Int32Array
  /** The tiers' own words; see tcmalloc/control.ts. */
  readonly control: Int32Array
  readonly slots: ThreadSlots
  readonly mapping: Mapping
  readonly reservedBytes: number
  private readonly mapper: Mapper
  private readonly slotWords: Section
  private readonly slotAreas: Section
  private readonly slotBytes: number
  private readonly passSection: GrowingSection
  private readonly spanSection: GrowingSection
  private readonly stateSection: GrowingSection

  /**
   * Makes the tables of a new heap, or opens those in `adopted`, which another thread has made with the same sizes.
   * @throws AllocatorError `ERR_HEAP_OUT_OF_MEMORY`
   */
  constructor(mapper: Mapper, { pages, controlWords, slotBytes, isTight }: TableSizes, adopted?: Mapping) {
    let end = 0
    const section = (byteLength: number): Section => {
      const offset = end
      end += roundUp(byteLength, MOST_SYSTEM_PAGE_BYTES)
      return { offset, byteLength }
    }
    const control = section(controlWords * 4)
    this.slotWords = section(threadSlotWords(ALL_SLOTS) * 4)
    const pageClass = section(pages)
    const pagePast = section(pages)
    const fixed = end
    this.slotBytes = roundUp(slotBytes, MOST_SYSTEM_PAGE_BYTES)
    this.slotAreas = section(this.slotBytes * ALL_SLOTS)
    const growing = (byteLength: number, stepsWord: number, stepBytes: number): GrowingSection => ({
      ...section(byteLength),
      stepsWord,
      stepBytes,
    })
    this.passSection = growing(PassSlot.Most * PassSlot.Bytes, PASS_STEPS, PASS_STEP_BYTES)
    this.spanSection = growing(pages * SpanEntry.Bytes, SPAN_STEPS, STEP_BYTES)
    // The last section, so if another thread has made the tables, their total length tells how long this section is.
    const isShort = adopted === undefined ? isTight : adopted.buffer.byteLength < end + LEAST_STATES
    this.stateSection = growing(Math.max(pages * Page.Granules, isShort ? 0 : LEAST_STATES), STATE_STEPS, STEP_BYTES)
    this.reservedBytes = end
    if (adopted !== undefined && adopted.buffer.byteLength !== end) throw invalidToken('its tables have another size')

    const mapping = adopted ?? reserveTables(mapper, end, fixed)
    this.mapper = mapper
    this.mapping = mapping
    const { buffer } = mapping
    this.control = new Int32Array(buffer, control.offset, controlWords)
    this.slots = new ThreadSlots(new Int32Array(buffer, this.slotWords.offset, this.slotWords.byteLength / 4))
    this.pageClass = new Int8Array(buffer, pageClass.offset, pages)
    this.pagePast = new Int8Array(buffer, pagePast.offset, pages)
    this.pagePasts = new Int32Array(buffer, pagePast.offset, Math.ceil(pages / 4))
    this.passes = new Int32Array(buffer, this.passSection.offset, PassSlot.Most * PassSlot.Words)
    this.spans = new Int32Array(buffer, this.spanSection.offset, pages * SpanEntry.Words)
    this.states = new Int8Array(buffer, this.stateSection.offset, this.stateSection.byteLength)
  }

  /** Makes the tables cover the pages before `endPage`. Returns 0, or the system's error number. */
  cover(endPage: number): number {
    return (
      this.extend(this.spanSection, endPage * SpanEntry.Bytes) ||
      this.extend(this.stateSection, endPage * Page.Granules)
    )
  }

  /** The same for the first `count` pass slots. REQUIRES: no other thread does this meanwhile */
  coverPasses(count: number): number {
    return this.extend(this.passSection, count * PassSlot.Bytes)
  }

  /** The number of pass slots that have memory. */
  get coveredPasses(): number {
    return this.grown(this.passSection) / PassSlot.Bytes
  }

  /**
   * Claims a thread slot for this thread, and its area. If none is free, claims the spare one, which has no area: for a thread that clears
   * up behind dead ones, and then claims one of theirs.
   * @throws AllocatorError
   */
  claimSlot(): { slot: number; area: Int32Array } {
    const slot = this.claimAny()
    if (slot < 0) throw tooManyWorkers()
    this.slots.noteThread(slot)
    const errno = slot === SPARE_SLOT ? 0 : this.mapping.grow(this.areaOffset(slot), this.slotBytes)
    if (errno !== 0) {
      this.freeSlot(slot)
      throw tablesRefused(errno, this.slotBytes)
    }
    return { slot, area: this.slotArea(slot) }
  }

  /** A slot that was free, or the spare one; -1 if a live thread keeps that. */
  private claimAny(): number {
    const { offset } = this.slotWords
    for (let tries = 0; tries < MOST_TRIES; tries++) {
      const slot = this.mapping.claimSlot(offset, ObjectState.SlotCount, false)
      if (slot >= 0) return slot
      if (this.mapping.claimSlot(offset, ObjectState.SlotCount, true) >= 0) return SPARE_SLOT
      this.slots.sleep(SPARE_SLOT, TRY_MS)
    }
    return -1
  }

  /** The area of a slot. The area of a slot that was never claimed reads as zeros, and must not be written. */
  slotArea(slot: number): Int32Array {
    return new Int32Array(this.mapping.buffer, this.areaOffset(slot), this.slotBytes / 4)
  }

  /** Gives the memory of a slot's area back. REQUIRES: no thread uses the slot. */
  releaseArea(slot: number): void {
    if (this.mapper.canRelease) this.mapping.release(this.areaOffset(slot), this.slotBytes)
  }

  private areaOffset(slot: number): number {
    return this.slotAreas.offset + slot * this.slotBytes
  }

  /** Gives a slot that this thread claimed back. */
  freeSlot(slot: number): void {
    this.mapping.freeSlot(this.slotWords.offset, slot)
  }

  /** What marks this thread's slot dead, and doesn't keep these tables. */
  ender(slot: number): () => void {
    const { mapping } = this
    const { offset } = this.slotWords
    return () => mapping.endSlot(offset, slot)
  }

  /**
   * Gives back the memory of the tables that describe `pages` free pages from `page` on, as far as it fills whole system pages. REQUIRES:
   * their states are all NONE, and the span's first and last page keep their entries.
   */
  trim(page: number, pages: number): void {
    if (!this.mapper.canRelease || !this.mapper.releaseZeroes) return
    this.releaseInner(this.stateSection, page * Page.Granules, (page + pages) * Page.Granules)
    this.releaseInner(this.spanSection, (page + 1) * SpanEntry.Bytes, (page + pages - 1) * SpanEntry.Bytes)
  }

  /** Gives all memory of the tables back; no thread may use them from now on. */
  close(): void {
    if (this.mapper.canRelease) {
      for (const section of [this.passSection, this.spanSection, this.stateSection]) {
        const bytes = this.grown(section)
        if (bytes > 0) this.mapping.release(section.offset, bytes)
      }
      this.mapping.release(0, this.passSection.offset)
    }
  }

  private grown({ byteLength, stepsWord, stepBytes }: GrowingSection): number {
    return Math.min(this.control[stepsWord]! * stepBytes, roundUp(byteLength, MOST_SYSTEM_PAGE_BYTES))
  }

  private extend(section: GrowingSection, needed: number): number {
    const grown = this.grown(section)
    if (needed <= grown) return 0
    const { offset, byteLength, stepsWord, stepBytes } = section
    const steps = Math.ceil(needed / stepBytes)
    const end = Math.min(steps * stepBytes, roundUp(byteLength, MOST_SYSTEM_PAGE_BYTES))
    const errno = this.mapping.grow(offset + grown, end - grown)
    if (errno === 0) this.control[stepsWord] = steps
    return errno
  }

  private releaseInner(section: Section, from: number, to: number): void {
    const { systemPageSize } = this.mapper
    const start = roundUp(from, systemPageSize)
    const end = to - (to % systemPageSize)
    if (end > start) this.mapping.release(section.offset + start, end - start)
  }
}
