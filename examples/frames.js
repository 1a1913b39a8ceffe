// Frames are made in one worker, changed in a second and written to a file in a third. Each is one block of a shared heap
// that moves from hand to hand: nothing is copied, and what is written is freed at once.
//
//     node examples/frames.js FILE [FRAMES]
import { open } from 'node:fs/promises'
import { isMainThread, Worker, workerData } from 'node:worker_threads'
import { Channel, Heap } from 'spanheap'

const [WIDTH, HEIGHT] = [640, 360]
const FRAME_BYTES = WIDTH * HEIGHT * 3

async function main() {
  const [file = 'frames.rgb', frames = '100'] = process.argv.slice(2)
  const heap = new Heap({ limitBytes: 64 * 2 ** 20 })
  // At most four frames wait at each step: who is faster waits.
  const made = new Channel(heap, { capacity: 4 })
  const changed = new Channel(heap, { capacity: 4 })
  const shared = { heap: heap.share(), made: made.share(), changed: changed.share(), file, frames: Number(frames) }
  const exits = ['make', 'change', 'write'].map((role) => {
    const worker = new Worker(new URL(import.meta.url), { workerData: { ...shared, role } })
    return new Promise((resolve, reject) => worker.once('exit', resolve).once('error', reject))
  })
  await Promise.all(exits)
  made.close()
  changed.close()
  const { peakLiveBytes, liveBytes, syscalls } = heap.stats()
  console.log(
    `${frames} frames of ${FRAME_BYTES} bytes; at most ${(peakLiveBytes / FRAME_BYTES).toFixed(1)} at once, ` +
      `${liveBytes} bytes left, ${syscalls.mmap} calls of mmap`
  )
  heap.close()
}

async function work({ role, frames, file, ...tokens }) {
  const heap = Heap.attach(tokens.heap)
  const made = Channel.attach(tokens.made, { heap })
  const changed = Channel.attach(tokens.changed, { heap })
  if (role === 'make') {
    for (let frame = 0; frame < frames; frame++) {
      const pixels = heap.view(heap.malloc(FRAME_BYTES), FRAME_BYTES)
      pixels.fill(frame & 0xff)
      made.sendSync(pixels)
    }
    made.end()
  } else if (role === 'change') {
    for await (const pixels of made) {
      for (let i = 0; i < pixels.length; i++) pixels[i] = 255 - pixels[i]
      changed.sendSync(pixels)
    }
    changed.end()
  } else {
    const output = await open(file, 'w')
    for await (const pixels of changed) {
      await output.write(pixels)
      heap.freeBuffer(pixels)
    }
    await output.close()
  }
  made.close()
  changed.close()
  heap.close()
}

await (isMainThread ? main() : work(workerData))
