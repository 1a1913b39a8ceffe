import type { Address } from '../base/allocator.ts'
import { Granule, Page, pagesFor } from '../memory/page.ts'
import { windowsOf } from '../memory/word-windows.ts'
import type { Collector } from './collector.ts'
import type { MCache } from './mcache.ts'
import type { MCentral } from './mcentral.ts'
import type { MHeap } from './mheap.ts'
import type { ObjectBits } from './object-bits.ts'
import type { PointerMap } from './pointer-map.ts'
import type { Roots } from './roots.ts'
import { type GoSizeClasses, GoSmall, SpanClass, spanClassOf } from './size-class.ts'
import { Bits, PageEntry, PageWord, Span, SpanEntry, Word8 } from './span.ts'
import type { GoTables } from './tables.ts'
import type { Tally } from './tally.ts'
import { Tiny, type TinyBlocks } from './tiny.ts'
import { TypeEntry, type TypeId, type Types, TypeWord } from './types.ts'

/** Up to this size, in units of 8 bytes, a loop clears an object; the engine's fill takes 30 to 40 ns before it starts. */
const MOST_LOOPED_UNITS = 64

/** The tiers that objects are made with. */
export interface ObjectTiers {
  tables: GoTables
  classes: GoSizeClasses
  classBySize8: Int8Array
  bits: ObjectBits
  mheap: MHeap
  central: MCentral
  cache: MCache
  tally: Tally
  types: Types
  roots: Roots
  pointers: PointerMap
  tiny: TinyBlocks
  collector: Collector
  /** The heap's memory. */
  buffer: SharedArrayBuffer | ArrayBuffer
}

/** The program's side of a collected heap (the field calls it the mutator): it makes objects, and stores pointers. */
export class Objects {
  private readonly tiers: ObjectTiers
  private readonly types: Types
  private readonly cache: MCache
  private readonly roots: Roots
  private readonly pointers: PointerMap
  private readonly tiny: TinyBlocks
  private readonly collector: Collector
  private readonly bits: ObjectBits
  private readonly pages: Int32Array
  private readonly classes: GoSizeClasses
  private readonly size8: Int32Array
  private readonly classBySize8: Int8Array
  private readonly doubles: Float64Array
  private readonly windows: readonly Int32Array[]

  constructor(tiers: ObjectTiers) {
    this.tiers = tiers
    this.types = tiers.types
    this.cache = tiers.cache
    this.roots = tiers.roots
    this.pointers = tiers.pointers
    this.tiny = tiers.tiny
    this.collector = tiers.collector
    this.bits = tiers.bits
    this.pages = tiers.tables.pages
    this.classes = tiers.classes
    this.size8 = tiers.classes.size8
    this.classBySize8 = tiers.classBySize8
    this.doubles = new Float64Array(tiers.buffer)
    this.windows = windowsOf(tiers.buffer)
  }

  /** One object of a small type from the cache, zeroed, as its unit; 0 if the cache has none, or the type isn't small. */
  allocateCached(type: TypeId): number {
    const spanClass = this.types.words[(type << TypeEntry.Shift) + TypeWord.SpanClass]!
    const unit = this.cache.pop(spanClass, this.collector.markOffset)
    if (unit !== 0) this.ready(unit, spanClass, type, 1)
    return unit
  }

  /** `count` objects of a type, one after the other, as their address; 0 if there is no memory. */
  allocate(type: TypeId, count: number): Address {
    const at = type << TypeEntry.Shift
    const { words } = this.types
    const noscan = words[at + TypeWord.Noscan]!
    const bytes = words[at + TypeWord.Stride]! * count
    if (noscan === 1 && bytes < Tiny.BlockBytes) return this.allocateTiny(Math.max(1, bytes))
    if (bytes > GoSmall.MostBytes) return this.allocateLarge(type, count, bytes)
    const spanClass = spanClassOf(this.classBySize8[Math.ceil(bytes / Word8.Bytes)]!, noscan)
    const unit = this.slot(spanClass)
    if (unit === 0) return 0
    this.ready(unit, spanClass, type, count)
    if (this.collector.owed !== 0) this.collector.pay()
    return (unit >>> 0) * Word8.Bytes
  }

  /** The unit of the object that starts at an address; 0 if none does, or if the program frees it itself. */
  unitAt(address: Address): number {
    const unit = address / Word8.Bytes
    const page = Math.floor(unit / Word8.PageUnits)
    const info = page < this.tiers.mheap.endPage ? this.pages[page << PageEntry.Shift]! : 0
    if (info === 0 || (info & PageWord.Manual) !== 0) return 0
    const start = info >>> PageWord.StartShift
    const sizeClass = (info & PageWord.SpanClass) >>> 1
    const offset = Math.floor(unit) - start * Word8.PageUnits
    const slot = this.classes.slotAt(sizeClass, offset)
    const first = Math.imul(slot, this.size8[sizeClass]!)
    const word = this.bits.words[this.bits.allocated + (start << Bits.PageShift) + (slot >>> 5)]!
    // Past the last slot, bits are 1 too.
    if ((word & (1 << (slot & 31))) === 0 || (sizeClass !== 0 && slot >= this.classes.objects[sizeClass]!)) return 0
    if ((info & PageWord.SpanClass) === SpanClass.Tiny) {
      return this.tiny.sizeAt((start << 9) + slot, address & 15) === 0 ? 0 : (start << Word8.PageShift) + first
    }
    return unit === start * Word8.PageUnits + first ? unit | 0 : 0
  }

  /** The bytes of the object that starts at an address. REQUIRES: one does. */
  usableBytes(address: Address): number {
    const page = Math.floor(address / Page.Bytes)
    const info = this.pages[page << PageEntry.Shift]!
    const sizeClass = (info & PageWord.SpanClass) >>> 1
    if (sizeClass === 0) return this.spanUnits(page) * Word8.Bytes
    if ((info & PageWord.SpanClass) === SpanClass.Tiny) {
      return this.tiny.sizeAt(Math.floor(address / Granule.Bytes), address & 15)
    }
    return this.size8[sizeClass]! * Word8.Bytes
  }

  /** Whether an object holds a pointer at an offset in bytes. REQUIRES: the unit is an object's start. */
  isPointer(unit: number, offset: number): boolean {
    const page = unit >>> Word8.PageShift
    const info = this.pages[page << PageEntry.Shift]!
    if ((info & 1) !== 0 || (offset & 7) !== 0) return false
    const sizeClass = (info & PageWord.SpanClass) >>> 1
    const units = sizeClass === 0 ? this.spanUnits(page) : this.size8[sizeClass]!
    return offset / Word8.Bytes < units && this.pointers.has((unit + offset / Word8.Bytes) | 0)
  }

  /** The pointer in a unit of the heap. */
  load(unit: number): Address {
    const words = this.windows[unit >>> Word8.WindowShift]!
    const index = (unit & Word8.WindowMask) << 1
    return words[index + 1]! * 2 ** 32 + (words[index]! >>> 0)
  }

  /** Stores a pointer, and shades the target that it overwrites and, for good measure, the new one. */
  store(unit: number, target: Address): void {
    const words = this.windows[unit >>> Word8.WindowShift]!
    const index = (unit & Word8.WindowMask) << 1
    const high = Math.floor(target / 2 ** 32)
    if (this.collector.markOffset !== 0) {
      if (words[index] !== 0 || words[index + 1] !== 0) this.collector.shadeAddress(words[index]!, words[index + 1]!)
      this.collector.shadeAddress(target | 0, high)
    }
    words[index] = target | 0
    words[index + 1] = high
  }

  /** Readies a slot for `count` objects of a type: clears it, notes where its pointers are, and makes it the newest root. */
  private ready(unit: number, spanClass: number, type: TypeId, count: number): void {
    const units = this.size8[spanClass >>> 1]!
    if (this.cache.needsZero(spanClass)) this.clear(unit, units)
    if ((spanClass & 1) === 0) {
      const mask = this.types.words[(type << TypeEntry.Shift) + TypeWord.Mask]!
      if (count === 1 && (unit & 31) + units <= 32) this.pointers.setShort(unit, units, mask)
      else this.pointers.set(unit, units, this.types, type, count)
    } else if (spanClass === SpanClass.Tiny) this.tiny.whole(unit >>> 1)
    this.roots.keep(unit)
  }

  /** Makes the units of an object 0. */
  private clear(unit: number, units: number): void {
    const { doubles } = this
    if (units > MOST_LOOPED_UNITS || unit < 0) {
      doubles.fill(0, unit >>> 0, (unit >>> 0) + units)
      return
    }
    for (let i = unit; i < unit + units; i++) doubles[i] = 0
  }

  /** A slot of a class, from the first tier that has one; 0 if there is no memory. The program pays for it later. */
  private slot(spanClass: number): number {
    const { cache, collector } = this
    for (;;) {
      const unit = cache.pop(spanClass, collector.markOffset)
      if (unit !== 0) return unit
      if (cache.advance(spanClass)) continue
      const bytes = cache.refill(spanClass)
      if (bytes === 0) return 0
      collector.owe(bytes)
    }
  }

  private allocateTiny(bytes: number): Address {
    const { tiny, tiers, collector } = this
    const at = tiny.place(bytes)
    if (at >= 0) {
      const granule = tiny.current
      tiers.tally.tinyAllocs++
      // The new object is marked, and so is its block.
      if (collector.markOffset !== 0) collector.shade(granule << 1)
      this.roots.keep(granule << 1)
      return (granule >>> 0) * Granule.Bytes + at
    }
    const unit = this.slot(SpanClass.Tiny)
    if (unit === 0) return 0
    this.clear(unit, 2)
    tiny.start(unit >>> 1, bytes) // the block counts, and so this object
    this.roots.keep(unit)
    if (collector.owed !== 0) collector.pay()
    return (unit >>> 0) * Word8.Bytes
  }

  private allocateLarge(type: TypeId, count: number, bytes: number): Address {
    const { mheap, central, tally } = this.tiers
    const pages = pagesFor(bytes)
    const noscan = this.types.words[(type << TypeEntry.Shift) + TypeWord.Noscan]!
    const start = central.largeSpan(pages, noscan === 1 ? SpanClass.LargeNoscan : SpanClass.LargeScan)
    if (start === 0) return 0
    const unit = start << Word8.PageShift
    const word = start << Bits.PageShift
    this.bits.words[this.bits.allocated + word]! |= 1
    if (this.collector.markOffset !== 0) this.bits.words[this.bits.marked + word]! |= 1
    const units = pages * Word8.PageUnits
    if (mheap.needsZero(start)) this.clear(unit, units)
    if (noscan === 0) this.pointers.set(unit, units, this.types, type, count)
    tally.addLarge(pages * Page.Bytes)
    this.roots.keep(unit)
    this.collector.owe(pages * Page.Bytes)
    this.collector.pay()
    return start * Page.Bytes
  }

  private spanUnits(start: number): number {
    return this.tiers.tables.spans[(start << SpanEntry.Shift) + Span.Pages]! * Word8.PageUnits
  }
}
