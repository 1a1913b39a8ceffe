// The same: frames are blocks of a heap that both threads have.
//
//     node examples/recipes/frames/after.js [FRAMES]
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { Heap } from 'spanheap'

const [WIDTH, HEIGHT] = [1280, 720]
/** So many frames are on their way at once. */
const AHEAD = 3
const heap = isMainThread ? new Heap() : Heap.attach(workerData.heap)

if (isMainThread) {
  const [frames = '1500'] = process.argv.slice(2)
  const worker = new Worker(new URL(import.meta.url), { workerData: { frames, heap: heap.share() } })
  const brightness = new Uint32Array(256)
  let seen = 0
  worker.on('message', (passed) => {
    const frame = heap.adopt(passed)
    for (let i = 0; i < frame.length; i += 64) brightness[frame[i]]++
    heap.freeBuffer(frame)
    worker.postMessage('next')
    seen++
  })
  worker.once('exit', () => {
    const sum = brightness.reduce((total, count, level) => total + count * level, 0)
    console.log(`${seen} frames, brightness ${sum}`)
  })
} else {
  let drawn = 0
  const draw = () => {
    if (drawn === Number(workerData.frames)) return parentPort.close()
    const frame = heap.allocBuffer(WIDTH * HEIGHT * 4)
    frame.fill(drawn++ & 0xff)
    parentPort.postMessage(heap.pass(frame))
  }
  parentPort.on('message', draw)
  for (let i = 0; i < AHEAD; i++) draw()
}
