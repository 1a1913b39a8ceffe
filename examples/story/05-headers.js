// The headers of a list heap, word by word, while blocks come and go.
//
//     node examples/story/05-headers.js
import { FreeListHeap } from 'spanheap/freelist'
import { noArguments } from './arguments.js'

noArguments()
const GRANULE = 16
const FIRST = 65536 / GRANULE // where the heap starts: address 0 is never valid

const heap = new FreeListHeap({ limitBytes: 2 ** 28, growth: 'exact' })
const words = new Int32Array(heap.buffer)

/** Follows the list from header to header. All numbers are granules, but the state: 0 is unused, 1 used. */
function show(what) {
  console.log(`${what}\n  header    size   state    next  previous`)
  const end = FIRST + heap.stats().mappedBytes / GRANULE
  for (let header = FIRST; header < end; header = words[header * 4 + 2]) {
    const [size, state, next, previous] = words.subarray(header * 4, header * 4 + 4)
    const cells = [header, size, state, next].map((word) => String(word).padStart(8)).join('')
    console.log(`${cells}${String(previous).padStart(10)}`)
  }
}

const a = heap.malloc(48)
show(`a = malloc(48) is ${a}: its header is granule ${a / GRANULE - 1}, and a's ${48 / GRANULE} granules follow`)
const b = heap.malloc(100)
show(`b = malloc(100): ${Math.ceil(100 / GRANULE)} granules; the rest is cut off as a block of its own`)
const c = heap.malloc(40)
heap.free(b)
show('c = malloc(40), free(b): only the state of b changes')
heap.free(a)
show('free(a): joined with b, whose header is no header any more')
heap.free(c)
show('free(c): joined with its neighbours on both sides')
heap.close()
