import { AllocatorError } from '../base/errors.ts'
import type { Collector } from './collector.ts'
import type { ListAllocator } from './list-allocator.ts'

/**
 * Walks the whole list, and compares its findings with the start bits, the released pages, the search's own lists, and the
 * counters. @throws AllocatorError `ERR_HEAP_CORRUPT`
 */
export function audit(allocator: ListAllocator, collector: Collector): void {
  const { list, search, tables } = allocator
  const free: number[] = []
  let blocks = 0
  let liveGranules = 0
  let objects = 0
  let releasedPages = 0
  let before = 0
  for (let block = list.first; block < list.end; block = list.following(block)) {
    check(list.isBlock(block), `the block at granule ${block} has no start bit`)
    check(list.preceding(block) === before, `the block at granule ${block} names another one before it`)
    if (list.isUsed(block)) {
      liveGranules += list.size(block)
      if (list.typeOf(block) !== 0 && collector.typeOf(block)) objects++
    } else {
      check(list.state(block) === 0, `the free block at granule ${block} has a state`)
      check(free.length === 0 || free.at(-1) !== before, `the free block at granule ${block} wasn't merged`)
      free.push(block)
      const { from, to } = allocator.innerPages(block)
      for (let page = from; page < to; page++) releasedPages += tables.released[page]!
    }
    blocks++
    before = block
  }
  check(list.last === before, `the last block is at granule ${before}, not ${list.last}`)
  equal('blocks', blocks, list.blocks)
  equal('start bits', tables.countStarts(), list.blocks)
  equal('granules in use', liveGranules, allocator.liveGranules)
  equal('objects', objects, collector.objects)
  equal('released pages in free blocks', releasedPages, allocator.releasedPages)
  equal('released pages', tables.countReleased(), allocator.releasedPages)
  const kept = search.kept()
  check(kept === undefined || kept.join() === free.join(), 'the list of free blocks has others than are free')
}

function equal(what: string, found: number, counted: number): void {
  check(found === counted, `there are ${found} ${what}, but ${counted} were counted`)
}

function check(holds: boolean, message: string): void {
  if (!holds) throw new AllocatorError('ERR_HEAP_CORRUPT', message)
}
