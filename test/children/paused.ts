// A debugger in another thread stops this one inside the heap and inside a channel, evaluates calls of the same heap, and lets it go on.
import { Worker } from 'node:worker_threads'
import { Channel, Heap } from '../../lib/index.ts'
import { HOST } from '../../lib/lifetime/host.ts'

const debuggerThread = `
  const { Session } = require('node:inspector')
  const { parentPort } = require('node:worker_threads')
  const session = new Session()
  session.connectToMainThread()
  session.on('Debugger.paused', ({ params: { callFrames } }) => {
    const { callFrameId } = callFrames[0]
    session.post('Debugger.evaluateOnCallFrame', { callFrameId, expression: 'globalThis.evaluated()' }, () => {
      session.post('Debugger.resume')
    })
  })
  session.post('Debugger.enable', () => parentPort.postMessage('ready'))
  parentPort.on('message', () => session.disconnect())`

const heap = new Heap({ limitBytes: 2 ** 26, leaks: 'off' })
const other = Heap.attach(heap.share(), { leaks: 'off' })
const channel = new Channel(heap)
const otherChannel = Channel.attach(channel.share(), { heap: other })

const codes: unknown[] = []
const code = (call: () => unknown) => {
  try {
    call()
    codes.push('ok')
  } catch (error) {
    codes.push((error as { code?: string }).code)
  }
}
const world = globalThis as { evaluated?: () => void }

/** Stops when a method is called next, which the library does while it holds a lock. */
function stopIn(object: object, name: string): void {
  const methods = object as Record<string, (...args: unknown[]) => unknown>
  const method = methods[name]!
  methods[name] = (...args) => {
    delete methods[name]
    // biome-ignore lint/suspicious/noDebugger: it is stopped here
    debugger
    return method.apply(object, args)
  }
}

const worker = new Worker(debuggerThread, { eval: true })
worker.once('message', () => {
  const { tiers } = heap[HOST]
  world.evaluated = () => {
    code(() => heap.stats())
    code(() => other.stats())
  }
  stopIn((tiers as unknown as { pageHeap: object }).pageHeap, 'take')
  const address = heap.malloc(2 ** 20)
  code(() => heap.free(address))

  world.evaluated = () => {
    code(() => channel.tryReceive())
    code(() => otherChannel.tryReceive())
  }
  channel.trySend(heap.allocBuffer(10))
  stopIn(tiers.passes, 'adopt')
  const buffer = channel.tryReceive()!
  code(() => heap.freeBuffer(buffer))

  // Whatever a debugger has evaluated elsewhere, and what comes after a strike, is as ever.
  world.evaluated = () => code(() => heap.stats())
  // biome-ignore lint/suspicious/noDebugger: it is stopped here
  debugger
  code(() => heap.audit())
  otherChannel.close()
  channel.close()
  const { liveBytes } = heap.stats()
  other.close()
  heap.close()
  worker.postMessage('over')
  process.stdout.write(JSON.stringify({ codes, liveBytes }), () => process.exit())
})
