import test from 'ava'
import { Roots } from '../../lib/go/roots.ts'

/** What is left to look at of the cycle that runs. */
function rest(roots: Roots): number[] {
  const found: number[] = []
  while (!roots.isDone) {
    const unit = roots.next()
    if (unit !== 0) found.push(unit)
  }
  return found
}

/** What a collector that begins now would look at. */
function seen(roots: Roots): number[] {
  roots.begin()
  return rest(roots).sort((a, b) => a - b)
}

test('roots are numbered from 1 on, and numbers come again', (t) => {
  const roots = new Roots()
  t.deepEqual([roots.add(10), roots.add(20), roots.add(30)], [1, 2, 3])
  t.is(roots.remove(2), 20)
  t.is(roots.count, 2)
  t.is(roots.add(40), 2)
  t.deepEqual(seen(roots), [10, 30, 40])
})

test('what is no root is told by 0, and changes nothing', (t) => {
  const roots = new Roots()
  roots.add(10)
  roots.add(20)
  roots.remove(1)
  for (const id of [0, 1, 3, -1, 1.5, Number.NaN, 2 ** 32 + 2]) t.is(roots.remove(id), 0, `${id}`)
  t.deepEqual(seen(roots), [20])
  t.is(roots.count, 1)
})

test('there is room for many, with units above 2^31 too', (t) => {
  const roots = new Roots()
  for (let i = 1; i <= 10_000; i++) t.is(roots.add((2 ** 31 + i) | 0), i)
  t.is(seen(roots).length, 10_000)
  t.is(roots.remove(10_000), (2 ** 31 + 10_000) | 0)
})

test('the newest is the last one that was made, in a scope or not', (t) => {
  const roots = new Roots()
  roots.keep(5)
  t.is(roots.newest, 5)
  t.deepEqual(seen(roots), [], 'it is looked at apart')
  const scope = roots.open()
  roots.keep(6)
  t.is(roots.newest, 6)
  t.deepEqual(seen(roots), [6])
  roots.close(scope)
  t.is(roots.newest, 6)
})

test('a scope that ends gives up what no other has', (t) => {
  const roots = new Roots()
  const outer = roots.open()
  roots.keep(1)
  const inner = roots.open()
  roots.keep(2)
  roots.close(inner)
  roots.keep(3)
  t.deepEqual(seen(roots), [1, 2, 3], 'the outer one has all')
  roots.close(outer)
  t.deepEqual(seen(roots), [])
  t.is(roots.count, 0)
  const next = roots.open()
  roots.keep(4)
  roots.close(outer)
  roots.close(inner)
  t.deepEqual(seen(roots), [4], 'those are over')
  roots.close(next)
})

test('where the outer scope ends first, the inner ones keep what was made in both', (t) => {
  const roots = new Roots()
  const scopes = [roots.open()]
  roots.keep(1)
  scopes.push(roots.open())
  roots.keep(2)
  scopes.push(roots.open())
  roots.keep(3)
  roots.close(scopes[0]!)
  t.deepEqual(seen(roots), [2, 3])
  roots.keep(4)
  roots.close(scopes[2]!)
  t.deepEqual(seen(roots), [2, 3, 4], 'the second is open')
  roots.close(scopes[1]!)
  t.deepEqual(seen(roots), [])
})

test('a scope that ends while the collector looks hides nothing from it', (t) => {
  for (let looked = 0; looked <= 6; looked++) {
    const roots = new Roots()
    const outer = roots.open()
    for (const unit of [1, 2, 3]) roots.keep(unit)
    const inner = roots.open()
    for (const unit of [4, 5, 6]) roots.keep(unit)
    roots.begin()
    const found = Array.from({ length: looked }, () => roots.next())
    roots.close(outer)
    if (looked % 2 === 0) found.push(roots.next())
    roots.close(inner)
    found.push(...rest(roots))
    t.deepEqual([...new Set(found)].filter((unit) => unit !== 0).sort(), [1, 2, 3, 4, 5, 6], `after ${looked}`)
    t.deepEqual(seen(roots), [], 'the next cycle has nothing of it')
  }
})

test('what is added and made meanwhile is looked at in the same cycle', (t) => {
  const roots = new Roots()
  for (const unit of [1, 2, 3]) roots.add(unit)
  roots.begin()
  t.is(roots.next(), 1)
  roots.remove(3)
  roots.add(4)
  const scope = roots.open()
  roots.keep(5)
  t.deepEqual(rest(roots), [2, 4, 5])
  t.true(roots.isDone)
  roots.close(scope)
  t.deepEqual(seen(roots), [1, 2, 4])
})
