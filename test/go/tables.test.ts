import { constants } from 'node:os'
import test from 'ava'
import { GoTables } from '../../lib/go/tables.ts'
import { SimulatedMapper } from '../../lib/os/simulated-mapper.ts'

const ARENA_PAGES = 8192

test('the tables grow with the heap, an arena at a time', (t) => {
  const mapper = new SimulatedMapper()
  const tables = new GoTables(mapper, 3 * ARENA_PAGES + 100)
  const fixed = mapper.pagesGrown
  t.is(tables.cover(8), 0)
  const one = mapper.pagesGrown - fixed
  t.true(one > 0)
  const calls = mapper.syscalls().mmap
  t.is(tables.cover(ARENA_PAGES), 0)
  t.is(mapper.syscalls().mmap, calls, 'they cover it already')
  t.is(tables.cover(ARENA_PAGES + 1), 0)
  t.true(mapper.pagesGrown > fixed + 1.9 * one && mapper.pagesGrown <= fixed + 2 * one)
  t.is(tables.cover(3 * ARENA_PAGES + 100), 0)
  t.true(mapper.pagesGrown * 4096 <= tables.reservedBytes)
  const last = 3 * ARENA_PAGES + 99
  for (const words of [tables.pages, tables.spans, tables.unitBits, tables.greyBits, tables.tiny]) {
    const each = words.length / (3 * ARENA_PAGES + 100)
    words[(last + 1) * each - 1] = 1
  }
  tables.bits[tables.bitsPerSet + last * 32 + 31] = 1
  tables.pageState[last] = 1
  tables.close()
})

test('parts of them don’t touch', (t) => {
  const mapper = new SimulatedMapper({ systemPageSize: 65_536 })
  const tables = new GoTables(mapper, 100)
  tables.cover(100)
  const parts = [
    tables.pages,
    tables.spans,
    tables.bits,
    tables.unitBits,
    tables.greyBits,
    tables.tiny,
    tables.pageState,
  ]
  for (const [i, part] of parts.entries()) part.fill(i + 1)
  for (const [i, part] of parts.entries()) t.true(part.every((value) => value === i + 1))
  t.is(tables.bits.length, tables.bitsPerSet + 100 * 32)
  t.is(tables.pageAlloc.verify(100), undefined)
  tables.close()
})

test('a system that refuses is told, and what it gave before is used the next time', (t) => {
  for (let refused = 1; refused <= 8; refused++) {
    const mapper = new SimulatedMapper()
    const tables = new GoTables(mapper, 2 * ARENA_PAGES)
    mapper.refuseCall = mapper.ring().length + refused
    t.is(tables.cover(100), constants.errno.ENOMEM)
    const before = mapper.syscalls().mmap
    t.is(tables.cover(100), 0)
    t.is(mapper.syscalls().mmap - before, 8 - (refused - 1))
    tables.spans.fill(1, 0, ARENA_PAGES * 16)
    tables.close()
  }
})

test('where not even the least can be had, there are none', (t) => {
  for (const refuseCall of [1, 2]) {
    const mapper = new SimulatedMapper({ refuseCall })
    const error = t.throws(() => new GoTables(mapper, 1000), { code: 'ERR_HEAP_OUT_OF_MEMORY' })
    t.like(error, { syscall: 'mmap', errno: constants.errno.ENOMEM })
  }
})

test('when they are closed all of it is given back', (t) => {
  const mapper = new SimulatedMapper()
  const tables = new GoTables(mapper, 2 * ARENA_PAGES)
  tables.cover(ARENA_PAGES + 1)
  tables.tiny.fill(-1, 0, 100_000)
  tables.close()
  t.is(mapper.pagesReleased, mapper.pagesGrown)
})
