// A stack frees by itself, in the reverse order and at the return; what must live longer goes to a heap.
//
//     node examples/story/02-stack-and-heap.js [CALLS]
import { isMainThread, parentPort, Worker } from 'node:worker_threads'
import { GoHeap } from 'spanheap/go'
import { integerArgument } from './arguments.js'

function depth() {
  try {
    return 1 + depth()
  } catch {
    return 1
  }
}

/** How deep a function can call itself in a thread whose stack is so large. */
function depthIn(stackSizeMb) {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL(import.meta.url), { resourceLimits: { stackSizeMb } })
    worker.once('message', resolve).once('error', reject)
  })
}

if (!isMainThread) parentPort.postMessage(depth())
else {
  const calls = integerArgument('CALLS', { standard: 100, least: 1, most: 1000 })
  const [small, large] = [await depthIn(1), await depthIn(3)]
  console.log(`a thread with a stack of 1 MB: ~${small} calls deep, then it overflows; one with 3 MB: ~${large}`)

  const heap = new GoHeap({ gcPercent: -1 })
  const Local = heap.defineType({ size: 64, pointers: [0] })
  const Result = heap.defineType({ size: 16, pointers: [0] })
  const objects = () => {
    heap.collect()
    return heap.memStats().HeapObjects
  }
  const result = heap.allocate(Result)
  heap.addRoot(result)

  /** A scope is a frame: what is allocated in it lives until it ends, unless something else leads to it. */
  function call(level) {
    const frame = heap.scope()
    try {
      const local = heap.allocate(Local)
      if (level === Math.ceil(calls / 2)) heap.setPointer(result, 0, local) // this one escapes
      return level < calls ? call(level + 1) : objects()
    } finally {
      frame[Symbol.dispose]()
    }
  }

  console.log(`before the first call: ${objects()} object, the result`)
  console.log(`${calls} calls deep, each with a local object: ${call(1)} objects`)
  heap.allocate(Result) // the newest object is a root of its own: this one, and not the last local
  console.log(`all have returned: ${objects() - 1} objects, the result and the local that it refers to`)
  heap.setPointer(result, 0, 0)
  console.log(`the result lets go of it: ${objects() - 1} object`)
  heap.close()
}
