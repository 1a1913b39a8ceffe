import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import test from 'ava'
import { open, write } from '../support/debug-heaps.ts'

test.serial('a listener may call the heap and close it', (t) => {
  const heap = open()
  const [first, second] = [heap.malloc(10), heap.malloc(10)]
  write(heap, first + 10)
  write(heap, second + 10)
  const listener = () => {
    try {
      heap.free(heap.malloc(1000))
      heap.close()
    } catch {} // the other finding, or that it is closed
  }
  subscribe('spanheap:misuse', listener)
  t.throws(() => heap.free(first), { code: 'ERR_HEAP_CORRUPT' })
  unsubscribe('spanheap:misuse', listener)
  t.throws(() => heap.malloc(1), { code: 'ERR_HEAP_CLOSED' })
})
