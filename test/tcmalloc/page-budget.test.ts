import test, { type ExecutionContext } from 'ava'
import { Page } from '../../lib/memory/page.ts'
import { openMapper } from '../../lib/os/open-mapper.ts'
import { TCMalloc } from '../../lib/tcmalloc/tcmalloc.ts'
import { collectGarbage } from '../support/garbage.ts'

const MIB = 2 ** 20
const BUDGET = 16 * MIB

function create(isDefault: boolean): TCMalloc {
  const options = { limitBytes: BUDGET, isDefault, shared: false, cacheBytes: 0, releaseRate: 0, debug: false }
  return TCMalloc.create(openMapper({}), options)
}

/** A heap that nobody has given a limit, on a machine that has 16 MiB to give. */
function open(t: ExecutionContext, isDefault = true): TCMalloc {
  const tiers = create(isDefault)
  t.teardown(() => tiers.member.close())
  return tiers
}

/** Takes blocks of 1 MiB until there is none any more. */
function fill(tiers: TCMalloc): number[] {
  const granules: number[] = []
  for (;;) {
    const granule = tiers.allocateLarge(MIB, undefined)
    if (granule === 0) return granules
    granules.push(granule)
  }
}

// One after the other: the budget is the process's.
test.serial('heaps without a limit of their own share one budget, and one with a limit has no part in it', (t) => {
  const [first, second, third] = [open(t), open(t), open(t, false)]
  const half = [...Array(8)].map(() => first.allocateLarge(MIB, undefined))
  t.is(fill(second).length, 8)
  t.is(second.lastErrno, 0, 'it was a limit')
  t.is(first.allocateLarge(MIB, undefined), 0)
  t.is(fill(third).length, 16)
  t.true(half.every((granule) => first.free(granule)))
  t.is(second.allocateLarge(MIB, undefined), 0, 'free pages that are backed count')
  first.release(undefined)
  t.is(fill(second).length, 8)
  t.is(first.allocateLarge(MIB, undefined), 0, 'its pages that were given back would be backed again')
  for (const tiers of [first, second, third]) tiers.audit()
})

test.serial('a heap that is closed gives its part back', (t) => {
  const [first, second] = [open(t), open(t)]
  fill(first)
  t.is(second.allocateLarge(MIB, undefined), 0)
  first.member.close()
  t.is(fill(second).length, 16)
})

test.serial('so does one that is dropped without a close, once it is collected', async (t) => {
  ;(() => t.is(fill(create(true)).length, 16))()
  await collectGarbage()
  t.is(fill(open(t)).length, 16)
})

test.serial('at the budget a heap gives free pages of its own back before it refuses', (t) => {
  const tiers = open(t)
  const other = open(t)
  t.not(other.allocateLarge(4 * MIB, undefined), 0)
  const blocks = fill(tiers)
  for (const granule of blocks.filter((_, i) => i % 2 === 0)) tiers.free(granule)
  t.not(tiers.allocateLarge(3 * MIB, undefined), 0, 'it grows where no free pages lie side by side')
  t.is(other.allocateLarge(4 * MIB, undefined), 0)
  tiers.audit()
})

test.serial('a block grows over pages that were given back only if the budget has them', (t) => {
  const [first, second] = [open(t), open(t)]
  const [block, next] = [first.allocateLarge(MIB, undefined), first.allocateLarge(2 * MIB, undefined)] as [
    number,
    number,
  ]
  first.free(next)
  first.release(undefined)
  const taken = fill(second)
  t.is(taken.length, 15)
  t.false(first.resize(block, 2 * MIB))
  second.free(taken[0]!)
  second.release(undefined)
  t.true(first.resize(block, 2 * MIB))
  t.is(first.usableBytes(block), 2 * MIB)
  t.false(first.resize(block, 2 * MIB + Page.Bytes))
  first.audit()
})
