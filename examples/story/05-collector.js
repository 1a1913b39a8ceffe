// A collector on a list of blocks: allocator, mutator and object headers at work, and what they write in the state of a header.
//
//     node examples/story/05-collector.js
import { FreeListHeap } from 'spanheap/freelist'
import { noArguments } from './arguments.js'

noArguments()
const GRANULE = 16
const FIRST = 65536 / GRANULE
/** The bits of a state; what is above them is the number of the object's type. */
const [USED, MARKED, TYPE_SHIFT] = [1, 2, 2]

const heap = new FreeListHeap({ limitBytes: 2 ** 28, growth: 'exact' })
const words = new Int32Array(heap.buffer)

function meaning(state) {
  if (state === 0) return 'unused'
  const type = state >>> TYPE_SHIFT
  const mark = (state & MARKED) !== 0 ? ', marked' : ''
  return `${(state & USED) !== 0 ? 'used' : 'wrong'}${mark}, ${type === 0 ? "malloc's" : `type ${type}`}`
}

function show(what) {
  console.log(`${what}\n  header    size   state`)
  const end = FIRST + heap.stats().mappedBytes / GRANULE
  for (let header = FIRST; header < end; header = words[header * 4 + 2]) {
    const [size, state] = words.subarray(header * 4, header * 4 + 2)
    console.log(`${[header, size, state].map((word) => String(word).padStart(8)).join('')}  ${meaning(state)}`)
  }
}

const mutator = heap.mutator()
const Node = mutator.defineType({ size: 32, references: [0, 8] })
const a = mutator.allocate(Node)
const b = mutator.allocate(Node)
const block = heap.malloc(64)
const c = mutator.allocate(Node)
const d = mutator.allocate(Node)
a.setReference(0, b)
c.setReference(0, d)
d.setReference(0, c)
for (const handle of [b, c, d]) handle.dispose()
show(
  'objects a to d, and a block from malloc behind b. a refers to b, c and d to each other; the program holds a alone'
)

const first = heap.collect()
show(`collected: a and b were reached, c and d are unused, joined: ${first} bytes freed`)
a.setReference(0, null)
const second = heap.collect()
show(`a lets go of b: all marks taken off, a marked anew, ${second} bytes freed`)
a.dispose()
const third = heap.collect()
show(`the program lets go of a: ${third} bytes freed; the block from malloc is the program's to free`)
heap.free(block)
console.log(`collections: ${heap.collections}, each of which looked at every header`)
heap.close()
