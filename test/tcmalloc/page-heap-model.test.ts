import test from 'ava'
import { Page } from '../../lib/memory/page.ts'
import { ObjectState } from '../../lib/tcmalloc/object-state.ts'
import { Location, Span, SpanEntry } from '../../lib/tcmalloc/span.ts'
import { Random } from '../support/random.ts'
import { freeSpan, freeSpans, openTiers, spanWord, type Tiers } from '../support/simulated-tiers.ts'

const LEAST_GROWTH_PAGES = 128
const LIMIT_PAGES = 1024

type State = 'used' | 'normal' | 'released'

interface Run {
  start: number
  length: number
  state: State
}

/** What the page heap should do, with a state for each page and nothing remembered beside. */
class Reference {
  readonly pages: State[] = []
  readonly unit: number

  constructor(unit: number) {
    this.unit = unit
  }

  round(pages: number): number {
    return Math.ceil(pages / this.unit) * this.unit
  }

  set(start: number, pages: number, state: State): void {
    for (let page = start; page < start + pages; page++) this.pages[page - Page.First] = state
  }

  /** Free pages side by side that are in the same state, lowest first. */
  free(): Run[] {
    const runs: Run[] = []
    for (const [i, state] of this.pages.entries()) {
      const last = runs.at(-1)
      const start = i + Page.First
      if (last?.state === state && last.start + last.length === start) last.length++
      else if (state !== 'used') runs.push({ start, length: 1, state })
    }
    return runs
  }

  count(state: State): number {
    return this.pages.filter((other) => other === state).length
  }

  /** Where a span of so many pages may come from: the shortest run that is right, and a released one only where it is shorter. */
  bestRuns(isRight: (run: Run) => boolean): Run[] {
    const fitting = this.free().filter(isRight)
    const least = Math.min(...fitting.map(({ length }) => length))
    const best = fitting.filter(({ length }) => length === least)
    const normal = best.filter(({ state }) => state === 'normal')
    return normal.length > 0 ? normal : best
  }

  /** The same for one that is aligned: of runs that fit equally well the heap may see any first. */
  fittingRuns(needed: number, alignment: number): Run[] {
    const holds = ({ start, length }: Run) => ceilTo(start, alignment) + needed <= start + length
    const best = this.bestRuns(({ length }) => length >= needed)
    const right = best.filter(holds)
    if (best.every(holds)) return right
    const sure = this.bestRuns(({ length }) => length >= needed + alignment - 1)
    return [...right, ...(sure.length > 0 ? sure : this.bestRuns(holds))]
  }

  /** Makes room as a heap does in which nothing fits. */
  grow(needed: number, alignment: number): void {
    const end = this.pages.length + Page.First
    const tailOf = (...states: State[]) => {
      let start = end
      while (states.includes(this.pages[start - 1 - Page.First]!)) start--
      return start
    }
    const missing = (start: number) => ceilTo(start, alignment) + needed - end
    const tail = missing(tailOf('normal'))
    const wanted = alignment === 1 ? needed : tail
    const fits = (pages: number) => this.pages.length + pages <= LIMIT_PAGES
    const growth = [Math.max(wanted, this.round(LEAST_GROWTH_PAGES)), wanted, tail].find(fits)
    if (growth !== undefined) {
      this.set(end, growth, 'normal')
      return
    }
    const mixed = missing(tailOf('normal', 'released'))
    if (mixed > 0 && fits(mixed)) this.set(end, mixed, 'normal')
    if (this.count('normal') > 0 && this.count('released') > 0)
      for (const { start, length } of this.free()) this.set(start, length, 'released')
  }

  /** The same for a span that is to be longer, and has no used one behind it. */
  growBehind(start: number, length: number, needed: number): void {
    const end = this.pages.length + Page.First
    const lacking = start + needed - end
    if (lacking <= 0 || this.pages.slice(start + length - Page.First).includes('used')) return
    if (this.fittingRuns(needed, 1).length > 0) return
    const fits = (pages: number) => this.pages.length + pages <= LIMIT_PAGES
    const growth = [Math.max(lacking, this.round(LEAST_GROWTH_PAGES)), lacking].find(fits)
    if (growth !== undefined) this.set(end, growth, 'normal')
  }
}

const ceilTo = (page: number, alignment: number) => Math.ceil(page / alignment) * alignment

function check(tiers: Tiers, reference: Reference, held: ReadonlyMap<number, number>, what: string): void {
  const { pageHeap, tables } = tiers
  const expected = reference.free().map(({ start, length, state }) => `${state} ${start}+${length}`)
  const actual = freeSpans(tiers)
  if (actual.join() !== expected.join()) throw new Error(`${what}: [${actual}], not [${expected}]`)
  const counts = [pageHeap.mappedPages, pageHeap.normalPages, pageHeap.releasedPages]
  const right = [reference.pages.length, reference.count('normal'), reference.count('released')]
  if (counts.join() !== right.join()) throw new Error(`${what}: ${counts}, not ${right}`)
  for (const [start, length] of held) {
    const word = (page: number, word: Span) => tables.spans[(page << SpanEntry.Shift) + word]
    const words = [word(start, Span.Start), word(start, Span.Length), word(start + length - 1, Span.Start)]
    if (words.join() !== [start, length, start].join()) throw new Error(`${what}: ${words} of ${start}+${length}`)
  }
}

/** Random calls, each with what the reference makes of it. */
function play(seed: number, systemPageSize: number, steps: number): Tiers {
  const random = new Random(seed)
  const tiers = openTiers({ limitPages: LIMIT_PAGES, system: { systemPageSize } })
  const { pageHeap, tables } = tiers
  const reference = new Reference(Math.max(1, systemPageSize / Page.Bytes))
  /** Pages of the spans in use, by their first page. */
  const held = new Map<number, number>()

  const allocate = (pages: number, alignment: number): void => {
    const needed = reference.round(pages)
    if (reference.fittingRuns(needed, alignment).length === 0) reference.grow(needed, alignment)
    const candidates = reference.fittingRuns(needed, alignment)
    const start = pageHeap.allocate(pages, alignment)
    if (candidates.length === 0) {
      if (start !== 0) throw new Error(`${pages} pages at ${start}, where there is no room`)
      return
    }
    if (!candidates.some((run) => ceilTo(run.start, alignment) === start))
      throw new Error(`${pages} pages, aligned to ${alignment}, are at ${start}`)
    reference.set(start, needed, 'used')
    held.set(start, needed)
  }

  const resize = (start: number, pages: number): void => {
    const length = held.get(start)!
    const needed = reference.round(pages)
    if (needed < length && random.below(2) === 0) {
      pageHeap.shrink(start, pages)
      reference.set(start + needed, length - needed, 'normal')
      held.set(start, needed)
      return
    }
    reference.growBehind(start, length, needed)
    const behind = reference.pages.slice(start + length - Page.First, start + needed - Page.First)
    const fits = start + needed - Page.First <= reference.pages.length && !behind.includes('used')
    if (pageHeap.extend(start, pages) !== fits)
      throw new Error(`${start}+${length} can${fits ? '’t' : ''} take ${pages}`)
    if (!fits || needed < length) return
    reference.set(start, needed, 'used')
    held.set(start, needed)
  }

  const free = (start: number): void => {
    reference.set(start, held.get(start)!, 'normal')
    held.delete(start)
    if (random.below(2) === 0) freeSpan(tiers, start)
    else freeAsLarge(start)
  }

  const freeAsLarge = (start: number): void => {
    // As a large block: only by the state that it has.
    const granule = start * Page.Granules
    tables.spans[(start << SpanEntry.Shift) + Span.Location] = Location.Large
    tables.states[granule] = ObjectState.Live
    if (pageHeap.freeLarge(start, ObjectState.Pooled)) throw new Error('a live block was freed as a pooled one')
    if (!pageHeap.freeLarge(start, ObjectState.Live)) throw new Error('a live block was not freed')
    if (pageHeap.freeLarge(start, ObjectState.Live)) throw new Error('a free block was freed')
  }

  const release = (pages: number): void => {
    const before = reference.free().filter(({ state }) => state === 'normal')
    const given = pageHeap.release(pages)
    const now = new Set(freeSpans(tiers).filter((text) => text.startsWith('normal')))
    const gone = before.filter(({ start, length }) => !now.has(`normal ${start}+${length}`))
    const sum = gone.reduce((total, { length }) => total + length, 0)
    if (given !== sum) throw new Error(`${given} pages were released, and ${sum} are gone`)
    if (given < pages && now.size > 0) throw new Error(`${given} of ${pages} pages were released`)
    for (const { start, length } of gone) reference.set(start, length, 'released')
  }

  for (let step = 0; step < steps; step++) {
    const what = random.below(16)
    const start = random.pick([...held.keys()])
    const pages = 1 + random.below(random.pick([8, 40, 300]))
    if (what < 6 || start === undefined) allocate(pages, 1)
    else if (what < 8) allocate(1 + random.below(random.pick([20, 200])), 2 ** random.below(9))
    else if (what < 11) free(start)
    else if (what < 13) resize(start, 1 + random.below(2 * held.get(start)!))
    else if (what < 14) release(1 + random.below(60))
    else if (what < 15) pageHeap.trimTables()
    else {
      pageHeap.hold()
      pageHeap.rebuild(() => false)
      pageHeap.letGo()
    }
    check(tiers, reference, held, `seed ${seed}, step ${step}`)
  }
  for (const start of [...held.keys()]) free(start)
  check(tiers, reference, held, `seed ${seed}, the end`)
  return tiers
}

for (const systemPageSize of [4096, 16_384, 65_536]) {
  test(`random calls with system pages of ${systemPageSize} bytes leave what a map of the pages says`, (t) => {
    for (let seed = 1; seed <= 6; seed++) {
      const tiers = play(seed, systemPageSize, 150)
      t.is(tiers.pageHeap.normalPages + tiers.pageHeap.releasedPages, tiers.pageHeap.mappedPages)
      t.is(spanWord(tiers, Page.First - 1, Span.Length), 0)
    }
  })
}
