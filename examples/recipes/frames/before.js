// A worker draws frames, and the main thread counts how bright their pixels are. As one writes it: each frame's memory is transferred.
//
//     node examples/recipes/frames/before.js [FRAMES]
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'

const [WIDTH, HEIGHT] = [1280, 720]
/** So many frames are on their way at once. */
const AHEAD = 3

if (isMainThread) {
  const [frames = '1500'] = process.argv.slice(2)
  const worker = new Worker(new URL(import.meta.url), { workerData: { frames } })
  const brightness = new Uint32Array(256)
  let seen = 0
  worker.on('message', (frame) => {
    for (let i = 0; i < frame.length; i += 64) brightness[frame[i]]++
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
    const frame = Buffer.allocUnsafeSlow(WIDTH * HEIGHT * 4)
    frame.fill(drawn++ & 0xff)
    parentPort.postMessage(frame, [frame.buffer])
  }
  parentPort.on('message', draw)
  for (let i = 0; i < AHEAD; i++) draw()
}
