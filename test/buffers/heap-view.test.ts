import test from 'ava'
import { HeapView } from '../../lib/buffers/heap-view.ts'

const memory = new ArrayBuffer(1024)

test('a view is known to its owner alone, by its key', (t) => {
  const [owner, other] = [{}, {}]
  const view = HeapView.buffer(memory, 64, 10, owner, 4)
  t.is(HeapView.keyOf(view, owner), 4)
  t.is(HeapView.keyOf(view, other), 0)
  t.is(HeapView.keyOf(Buffer.alloc(10), owner), 0)
  t.is(HeapView.keyOf(view.subarray(0), owner), 0, 'another view of the same bytes is another one')
  t.is(HeapView.keyOf(new Proxy(view, {}), owner), 0)
})

test('a view that was given back is known as that', (t) => {
  const owner = {}
  const view = HeapView.buffer(memory, 64, 10, owner, 4)
  HeapView.revoke(view)
  t.is(HeapView.keyOf(view, owner), -4)
})

test('keys of a heap of 32 GiB keep their value', (t) => {
  const owner = {}
  for (const key of [1, 2 ** 27, 2 ** 30 - 1, 2 ** 30, 2 ** 31 - 1]) {
    const view = HeapView.buffer(memory, 0, 1, owner, key)
    t.is(HeapView.keyOf(view, owner), key)
    HeapView.revoke(view)
    t.is(HeapView.keyOf(view, owner), -key)
  }
})

test('being remembered is nothing that anybody can see', (t) => {
  const owner = {}
  for (const view of [HeapView.buffer(memory, 64, 10, owner, 4), new Float64Array(memory, 64, 2)]) {
    if (!Buffer.isBuffer(view)) HeapView.mark(view, owner, 4)
    t.is(HeapView.keyOf(view, owner), 4)
    const plain = Buffer.isBuffer(view) ? Buffer.from(memory, 64, 10) : new Float64Array(memory, 64, 2)
    t.deepEqual(Reflect.ownKeys(view), Reflect.ownKeys(plain))
    t.is(Object.getPrototypeOf(view), Object.getPrototypeOf(plain))
  }
})

test('a frozen or sealed view can’t be told of: one view is marked once', (t) => {
  const view = HeapView.buffer(memory, 0, 8, {}, 1)
  t.throws(() => HeapView.mark(view, {}, 2), { instanceOf: TypeError })
})
