import test from 'ava'
import fc from 'fast-check'
import { PageAlloc } from '../../lib/go/page-alloc.ts'

const CHUNK = 512
const MOST_PAGES = 2 ** 22

/** First page and length. */
type Run = [page: number, count: number]

/** A byte for each page: 1 where it is free. */
class Reference {
  readonly free: Uint8Array

  constructor(pages: number) {
    this.free = new Uint8Array(pages)
  }

  /** The first multiple of `alignment` at which `count` pages are free, or 0. */
  find(count: number, alignment: number): number {
    const { free } = this
    for (let page = free.indexOf(1); page >= 0; page = free.indexOf(1, page)) {
      const used = free.indexOf(0, page)
      const end = used < 0 ? free.length : used
      const start = Math.ceil(page / alignment) * alignment
      if (start + count <= end) return start
      page = end
    }
    return 0
  }

  findAligned(count: number, alignment: number): number {
    const roomy = this.find(count + alignment - 1, 1)
    return roomy === 0 ? this.find(count, alignment) : Math.ceil(roomy / alignment) * alignment
  }

  runAt(page: number): number {
    const used = this.free.indexOf(0, page)
    return (used < 0 ? this.free.length : used) - page
  }

  runBefore(end: number): number {
    let page = end
    while (page > 0 && this.free[page - 1] === 1) page--
    return end - page
  }
}

/** Makes the calls that numbers stand for, and compares each with the reference. */
function compare(pages: number, added: readonly Run[], numbers: readonly number[], isVerified: boolean): void {
  const alloc = new PageAlloc(new Int32Array(PageAlloc.wordsFor(pages)), pages)
  const reference = new Reference(pages)
  for (const [page, count] of added) {
    alloc.add(page, count)
    reference.free.fill(1, page, page + count)
  }
  const held: Run[] = []
  const check = (actual: unknown, expected: unknown, what: string) => {
    if (actual !== expected) throw new Error(`${what}: ${actual}, not ${expected}`)
  }
  const take = (page: number, count: number) => {
    if (page === 0) return
    reference.free.fill(0, page, page + count)
    held.push([page, count])
  }
  const release = ([page, count]: Run) => {
    alloc.free(page, count)
    reference.free.fill(1, page, page + count)
  }
  // Every second script starts with a heap that is full of small runs, with a small part of it free here and there.
  if (numbers.length % 2 === 0 && pages < MOST_PAGES) {
    for (let count = 1, page = 8; page !== 0; count = (count % 9) + 1) {
      page = reference.find(count, 1)
      check(alloc.allocate(count), page, `fill with ${count}`)
      take(page, count)
    }
    for (let i = held.length % 7; i < held.length; i += 7) release(held.splice(i, 1)[0]!)
  }
  for (const number of numbers) {
    const kind = number & 15
    const choice = number >>> 12
    // Most counts are small, and some about as long as a chunk or longer.
    const most = kind < 5 ? 1 : kind < 9 ? 12 : 256
    const count = 1 + (((number >>> 4) & 255) % most) * (choice % 61 === 0 ? 5 : 1)
    if (kind < 7 || kind === 11) {
      const expected = reference.find(count, 1)
      check(alloc.allocate(count), expected, `allocate ${count}`)
      take(expected, count)
    } else if (kind === 7) {
      const alignment = 2 ** (choice % 11)
      const expected = reference.findAligned(count, alignment)
      check(alloc.allocateAligned(count, alignment), expected, `allocate ${count}, aligned to ${alignment}`)
      take(expected, count)
    } else if (kind === 8 && held.length > 0) {
      const [page, length] = held[choice % held.length]!
      const behind = page + length
      const isFree = behind < pages && reference.runAt(behind) >= count
      check(alloc.allocateAt(behind, count), isFree, `allocate ${count} at ${behind}`)
      if (isFree) take(behind, count)
    } else if (held.length > 0) {
      const [page, length] = held.splice(choice % held.length, 1)[0]!
      // In two pieces, some of them.
      const cut = kind === 9 && length > 1 ? choice % length : 0
      release([page + cut, length - cut])
      if (cut > 0) release([page, cut])
    }
    const page = number % pages
    check(alloc.isFree(page), reference.free[page] === 1, `page ${page}`)
    if (kind === 10) check(alloc.freeRunAt(page), reference.runAt(page), `run at ${page}`)
    if (kind === 12) check(alloc.endRun(page), reference.runBefore(page), `run before ${page}`)
    // To verify settles what is pending; so it isn't done each time.
    if (isVerified && choice % 3 !== 0) check(alloc.verify(pages), undefined, 'verify')
  }
  check(alloc.verify(pages), undefined, 'verify')
  check(
    alloc.freePages,
    reference.free.reduce((sum, free) => sum + free, 0),
    'free pages'
  )
}

const numbers = fc.noBias(fc.array(fc.integer({ min: 0, max: 2 ** 30 }), { maxLength: 1000, size: 'max' }))

for (const { pages, added, numRuns } of [
  { pages: 600, added: [[8, 592]] as Run[], numRuns: 150 },
  { pages: 5 * CHUNK, added: [[8, 5 * CHUNK - 8]] as Run[], numRuns: 100 },
  { pages: 20 * CHUNK, added: [[100, 19 * CHUNK]] as Run[], numRuns: 40 },
]) {
  test(`random calls do what the reference does: ${pages} pages`, (t) => {
    const property = fc.property(numbers, (script) => compare(pages, added, script, true))
    t.notThrows(() => fc.assert(property, { numRuns }))
  })
}

test('random calls do what the reference does: the largest heap, in pieces about the boundaries of its levels', (t) => {
  const added: Run[] = [8, 512, 4096, 2 ** 15, 2 ** 18, 2 ** 21, MOST_PAGES - 400].map((page) => [page, 400])
  for (const page of [4096, 2 ** 15, 2 ** 18, 2 ** 21]) added.push([page - 300, 300])
  const property = fc.property(numbers, (script) => compare(MOST_PAGES, added, script, false))
  t.notThrows(() => fc.assert(property, { numRuns: 10 }))
})
