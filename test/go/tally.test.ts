import test from 'ava'
import { GoSizeClasses } from '../../lib/go/size-class.ts'
import { Tally } from '../../lib/go/tally.ts'

test('counts are added up by class', (t) => {
  const tally = new Tally(new GoSizeClasses())
  t.deepEqual(tally.of(5), { mallocs: 0, frees: 0 })
  tally.add(5, 100, 0)
  tally.add(5, 3, 40)
  tally.add(67, 2, 1)
  t.deepEqual(tally.of(5), { mallocs: 103, frees: 40 })
  t.deepEqual(tally.of(67), { mallocs: 2, frees: 1 })
  t.deepEqual(tally.of(6), { mallocs: 0, frees: 0 })
})

test('they stay exact beyond 32 bits', (t) => {
  const tally = new Tally(new GoSizeClasses())
  for (let i = 0; i < 8; i++) tally.add(1, 2 ** 31 - 1, 2 ** 31 - 2)
  t.deepEqual(tally.of(1), { mallocs: 8 * (2 ** 31 - 1), frees: 8 * (2 ** 31 - 2) })
})

test('large objects are class 0, and counted in bytes: those there are, and all there ever were', (t) => {
  const tally = new Tally(new GoSizeClasses())
  tally.addLarge(40_960)
  tally.addLarge(2 ** 33)
  tally.removeLarge(40_960)
  t.deepEqual(tally.of(0), { mallocs: 2, frees: 1 })
  t.is(tally.largeBytes, 2 ** 33)
  t.is(tally.allLargeBytes, 2 ** 33 + 40_960)
})
