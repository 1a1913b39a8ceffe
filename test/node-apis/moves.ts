import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { open, writeFile } from 'node:fs/promises'
import { performance } from 'node:perf_hooks'
import { Duplex, Readable, Writable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import type { ReadableStreamReadResult } from 'node:stream/web'
import v8 from 'node:v8'
import {
  BroadcastChannel,
  MessageChannel,
  receiveMessageOnPort,
  setEnvironmentData,
  type TransferListItem,
  Worker,
} from 'node:worker_threads'
import { type ApiGroup, type Exception, expectBytes, type Memory, type NodeApi, SAMPLE, withFolder } from './api.ts'

const HALF = SAMPLE.length / 2
const WORKER = "const { parentPort, workerData } = require('node:worker_threads');"
const SAY_MESSAGE = "parentPort.once('message', (view) => parentPort.postMessage(Buffer.from(view).toString('hex')))"
const SAY_DATA = "parentPort.postMessage(Buffer.from(workerData).toString('hex'))"
const SAY_STDIN = "process.stdin.once('data', (chunk) => parentPort.postMessage(chunk.toString('hex')))"

const NOT_CLONED = { reason: 'clone', exceptions: [{ from: 20, outcome: 'refused: DataCloneError' }] } as const
const NOT_IN_LIST = { ...NOT_CLONED, reason: 'list' } as const
const NOT_DETACHED: readonly Exception[] = [
  { from: 20, to: 20, outcome: 'refused: ERR_OPERATION_FAILED' },
  { from: 22, outcome: 'refused: TypeError' },
]
/** On Node 20 and 22 the ArrayBuffer can be taken as long as no view above 4 GiB was made: see ViewMemory. */
const TAKEN_BELOW = { from: 20, to: 22, places: ['low', 'above 2 GiB'], outcome: 'taken' } as const
const TAKEN_OR_NOT: readonly Exception[] = [TAKEN_BELOW, ...NOT_DETACHED]
const NOT_MOVED = {
  since: 22,
  exists: () => 'transfer' in ArrayBuffer.prototype,
  reason: 'transfer',
  exceptions: TAKEN_OR_NOT,
} as const
const NOT_ENQUEUED = { reason: 'enqueue', exceptions: TAKEN_OR_NOT } as const
const NOT_READ_INTO = { reason: 'byob', exceptions: TAKEN_OR_NOT } as const

/** What @types/node for Node 20 doesn't know. */
interface Transferable {
  transfer(): ArrayBuffer
  transferToFixedLength(): ArrayBuffer
  resize(length: number): void
}
type ByteController = ReadableByteStreamController & { byobRequest: ReadableStreamBYOBRequest }

/** What a worker says that it has found, in hexadecimal. */
async function saidBy(worker: Worker): Promise<Buffer> {
  try {
    return Buffer.from((await once(worker, 'message'))[0], 'hex')
  } finally {
    await worker.terminate()
  }
}

/** What a worker has got by `post`. */
async function postedTo(options: { code: string; stdin?: boolean }, post: (worker: Worker) => void): Promise<Buffer> {
  const worker = new Worker(WORKER + options.code, { eval: true, stdin: options.stdin })
  try {
    post(worker)
    return await saidBy(worker)
  } finally {
    await worker.terminate()
  }
}

/** What comes out of a port. */
function posted(value: unknown, list: TransferListItem[] = []): Uint8Array {
  const { port1, port2 } = new MessageChannel()
  try {
    port1.postMessage(value, list)
    return receiveMessageOnPort(port2)!.message
  } finally {
    port1.close()
  }
}

/** The same with its ArrayBuffer in a transfer list. */
function transferred(memory: Memory, post: (bytes: Buffer<ArrayBuffer>, list: ArrayBuffer[]) => Uint8Array): void {
  const bytes = memory.holding()
  expectBytes(post(bytes, [bytes.buffer]))
}

function moved(memory: Memory, move: (buffer: Transferable) => ArrayBuffer): void {
  const { buffer, byteOffset, length } = memory.holding()
  expectBytes(new Uint8Array(move(buffer as unknown as Transferable), byteOffset, length))
}

/** A stream of type 'bytes' that gives these chunks. */
function byteStream(...chunks: Uint8Array[]): ReadableStream<Uint8Array> {
  return new ReadableStream({
    type: 'bytes',
    start(controller) {
      for (const chunk of chunks) controller.enqueue(chunk as Uint8Array<ArrayBuffer>)
      controller.close()
    },
  })
}

/** The sample in Node's own memory: what streams may take. */
const own = () => new Uint8Array(SAMPLE)

async function all(stream: ReadableStream<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = []
  for await (const part of stream) parts.push(part)
  return Buffer.concat(parts)
}

/** Reads into a buffer. */
async function readInto(memory: Memory, stream: ReadableStream): Promise<void> {
  const reader = stream.getReader({ mode: 'byob' })
  const { value }: ReadableStreamReadResult<Uint8Array> = await reader.read(memory.room())
  expectBytes(value!)
}

async function sent(memory: Memory, serialization: 'json' | 'advanced'): Promise<Buffer> {
  const answer =
    "process.once('message', (b) => { process.send(Buffer.from(b).toString('hex'), () => process.disconnect()) })"
  const child = spawn(process.execPath, ['-e', answer], {
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    serialization,
  })
  try {
    const message = once(child, 'message')
    child.send(memory.holding())
    return Buffer.from((await message)[0], 'hex')
  } finally {
    child.kill()
  }
}

const clones: readonly NodeApi[] = [
  { name: 'structuredClone', ...NOT_CLONED, use: (memory) => expectBytes(structuredClone(memory.holding())) },
  {
    name: 'structuredClone of buf.buffer',
    ...NOT_CLONED,
    use(memory) {
      const { buffer, byteOffset, length } = memory.holding()
      expectBytes(new Uint8Array(structuredClone(buffer), byteOffset, length))
    },
  },
  {
    name: 'structuredClone, buf.buffer in the transfer list',
    ...NOT_IN_LIST,
    use: (memory) => transferred(memory, (bytes, transfer) => structuredClone(bytes, { transfer })),
  },
  { name: 'MessagePort.postMessage', ...NOT_CLONED, use: (memory) => expectBytes(posted(memory.holding())) },
  {
    name: 'MessagePort.postMessage, buf.buffer in the transfer list',
    ...NOT_IN_LIST,
    use: (memory) => transferred(memory, posted),
  },
  {
    name: 'BroadcastChannel.postMessage',
    ...NOT_CLONED,
    async use(memory) {
      const name = `spanheap ${process.pid} ${Math.random()}`
      const [from, to] = [new BroadcastChannel(name), new BroadcastChannel(name)]
      try {
        const message = new Promise<{ data: Uint8Array }>((resolve) => {
          to.onmessage = resolve as (event: unknown) => void
        })
        from.postMessage(memory.holding())
        expectBytes((await message).data)
      } finally {
        from.close()
        to.close()
      }
    },
  },
  {
    name: 'new Worker, workerData',
    ...NOT_CLONED,
    use: async (memory) =>
      expectBytes(await saidBy(new Worker(WORKER + SAY_DATA, { eval: true, workerData: memory.holding() }))),
  },
  {
    name: 'new Worker, buf.buffer in the transferList',
    ...NOT_IN_LIST,
    async use(memory) {
      const workerData = memory.holding()
      const transferList = [workerData.buffer]
      expectBytes(await saidBy(new Worker(WORKER + SAY_DATA, { eval: true, workerData, transferList })))
    },
  },
  {
    name: 'Worker.postMessage',
    ...NOT_CLONED,
    use: async (memory) =>
      expectBytes(await postedTo({ code: SAY_MESSAGE }, (worker) => worker.postMessage(memory.holding()))),
  },
  {
    name: 'Worker.postMessage, buf.buffer in the transfer list',
    ...NOT_IN_LIST,
    async use(memory) {
      const bytes = memory.holding()
      expectBytes(await postedTo({ code: SAY_MESSAGE }, (worker) => worker.postMessage(bytes, [bytes.buffer])))
    },
  },
  {
    name: 'Worker.stdin.write',
    ...NOT_CLONED,
    use: async (memory) =>
      expectBytes(await postedTo({ code: SAY_STDIN, stdin: true }, (worker) => worker.stdin!.write(memory.holding()))),
  },
  {
    name: 'setEnvironmentData, seen by a Worker',
    ...NOT_CLONED,
    async use(memory) {
      setEnvironmentData('spanheap', memory.holding())
      const code = `const workerData = require('node:worker_threads').getEnvironmentData('spanheap'); require('node:worker_threads').${SAY_DATA}`
      try {
        expectBytes(await saidBy(new Worker(code, { eval: true })))
      } finally {
        setEnvironmentData('spanheap', undefined)
      }
    },
  },
  {
    name: 'performance.mark, detail',
    ...NOT_CLONED,
    use(memory) {
      try {
        expectBytes(performance.mark('spanheap', { detail: memory.holding() }).detail as Uint8Array)
      } finally {
        performance.clearMarks('spanheap')
      }
    },
  },
  {
    name: 'v8.Serializer.writeValue',
    reason: 'clone',
    exceptions: [{ from: 20, outcome: 'refused: Error' }],
    use(memory) {
      const serializer = new v8.Serializer()
      serializer.writeHeader()
      serializer.writeValue(memory.holding())
      expectBytes(v8.deserialize(serializer.releaseBuffer()))
    },
  },
  { name: 'v8.serialize', use: (memory) => expectBytes(v8.deserialize(v8.serialize(memory.holding()))) },
  {
    name: "ChildProcess.send, serialization 'advanced'",
    use: async (memory) => expectBytes(await sent(memory, 'advanced')),
  },
  {
    name: "ChildProcess.send, serialization 'json'",
    use: async (memory) => expectBytes(await sent(memory, 'json')),
  },
]

const transfers: readonly NodeApi[] = [
  {
    name: 'ArrayBuffer.prototype.transfer of buf.buffer',
    ...NOT_MOVED,
    use: (memory) => moved(memory, (buffer) => buffer.transfer()),
  },
  {
    name: 'ArrayBuffer.prototype.transferToFixedLength of buf.buffer',
    ...NOT_MOVED,
    use: (memory) => moved(memory, (buffer) => buffer.transferToFixedLength()),
  },
  {
    name: 'ArrayBuffer.prototype.resize of buf.buffer',
    reason: 'every buffer',
    exceptions: [{ from: 20, outcome: 'refused: TypeError' }],
    use: (memory) => (memory.holding().buffer as unknown as Transferable).resize(0),
  },
]

const byteStreams: readonly NodeApi[] = [
  {
    name: "ReadableStream of type 'bytes', enqueue",
    ...NOT_ENQUEUED,
    use: async (memory) => expectBytes(await all(byteStream(memory.holding()))),
  },
  {
    name: "ReadableStream of type 'bytes', enqueue, then tee",
    ...NOT_ENQUEUED,
    async use(memory) {
      const [one, other] = byteStream(memory.holding()).tee()
      const [first, second] = await Promise.all([all(one), all(other)])
      expectBytes(first)
      expectBytes(second)
    },
  },
  {
    name: "ReadableStream of type 'bytes', enqueue, then pipeThrough",
    ...NOT_ENQUEUED,
    use: async (memory) => expectBytes(await all(byteStream(memory.holding()).pipeThrough(new TransformStream()))),
  },
  {
    name: "ReadableStream of type 'bytes', enqueue, then Readable.fromWeb",
    ...NOT_ENQUEUED,
    use: async (memory) => expectBytes(await buffer(Readable.fromWeb(byteStream(memory.holding()) as never))),
  },
  {
    name: "ReadableStream of type 'bytes', BYOB read",
    ...NOT_READ_INTO,
    use: (memory) => readInto(memory, byteStream(own())),
  },
  {
    name: "ReadableStream of type 'bytes', BYOB read, then respond",
    ...NOT_READ_INTO,
    use: (memory) =>
      readInto(
        memory,
        new ReadableStream({
          type: 'bytes',
          pull(controller) {
            const { byobRequest } = controller as ByteController
            ;(byobRequest.view as Uint8Array).set(SAMPLE)
            byobRequest.respond(SAMPLE.length)
          },
        })
      ),
  },
  {
    name: "ReadableStream of type 'bytes', BYOB read, then respondWithNewView",
    ...NOT_READ_INTO,
    use: (memory) =>
      readInto(
        memory,
        new ReadableStream({
          type: 'bytes',
          pull(controller) {
            const { byobRequest } = controller as ByteController
            const view = byobRequest.view as Uint8Array<ArrayBuffer>
            view.set(SAMPLE)
            byobRequest.respondWithNewView(view.subarray())
          },
        })
      ),
  },
  {
    name: "ReadableStream of type 'bytes', respondWithNewView of another buffer",
    reason: 'enqueue',
    exceptions: [{ from: 20, outcome: 'refused: ERR_INVALID_ARG_VALUE' }],
    async use(memory) {
      const stream = new ReadableStream({
        type: 'bytes',
        pull: (controller) => (controller as ByteController).byobRequest.respondWithNewView(memory.holding()),
      })
      await stream.getReader({ mode: 'byob' }).read(new Uint8Array(SAMPLE.length))
    },
  },
  {
    name: 'FileHandle.readableWebStream, BYOB read',
    ...NOT_READ_INTO,
    // It takes the view's offset for one within the view: so it throws for Node's own Buffers too, unless they begin with their ArrayBuffer.
    exceptions: [{ ...TAKEN_BELOW, outcome: 'taken: ERR_OUT_OF_RANGE' }, ...NOT_DETACHED],
    use: (memory) =>
      withFolder(async (file) => {
        await writeFile(file, SAMPLE)
        const handle = await open(file)
        try {
          await readInto(memory, handle.readableWebStream({ type: 'bytes' } as never) as ReadableStream)
        } catch (error) {
          // Then its close would wait without end, and cancel the stream, which nobody catches. The handle is left to the collector.
          if ((error as NodeJS.ErrnoException).code !== 'ERR_OUT_OF_RANGE') await handle.close()
          throw error
        }
        await handle.close()
      }),
  },
  {
    name: 'Blob.stream, BYOB read',
    ...NOT_READ_INTO,
    use: (memory) => readInto(memory, new Blob([own()]).stream()),
  },
  {
    name: 'Response.body, BYOB read',
    ...NOT_READ_INTO,
    use: (memory) => readInto(memory, new Response(own()).body as ReadableStream),
  },
]

/** Those that hand on what they are given, and leave it where it is. */
const otherStreams: readonly NodeApi[] = [
  {
    name: 'ReadableStream, enqueue',
    use: async (memory) => expectBytes(await all(chunkStream(memory.holding()))),
  },
  {
    name: 'ReadableStream, tee',
    async use(memory) {
      const [one, other] = chunkStream(...halves(memory)).tee()
      const [first, second] = await Promise.all([all(one), all(other)])
      expectBytes(first)
      expectBytes(second)
    },
  },
  {
    name: 'ReadableStream, pipeThrough, pipeTo',
    async use(memory) {
      const parts: Uint8Array[] = []
      const sink = new WritableStream<Uint8Array>({
        write(part) {
          parts.push(part)
        },
      })
      await chunkStream(...halves(memory))
        .pipeThrough(new TransformStream())
        .pipeTo(sink)
      expectBytes(Buffer.concat(parts))
    },
  },
  {
    name: 'stream.Readable.toWeb, fromWeb',
    use: async (memory) => expectBytes(await buffer(Readable.fromWeb(Readable.toWeb(Readable.from(halves(memory)))))),
  },
  {
    name: "stream.Readable.toWeb, type 'bytes'",
    async use(memory) {
      const stream = Readable.from(halves(memory), { objectMode: false })
      const options = { type: 'bytes' } as Parameters<typeof Readable.toWeb>[1]
      expectBytes(await all(Readable.toWeb(stream, options) as ReadableStream<Uint8Array>))
    },
  },
  {
    name: 'stream.Writable.toWeb',
    async use(memory) {
      const parts: Buffer[] = []
      const stream = new Writable({
        write(part, _, done) {
          parts.push(part)
          done()
        },
      })
      const writer = Writable.toWeb(stream).getWriter()
      for (const half of halves(memory)) await writer.write(half)
      await writer.close()
      expectBytes(Buffer.concat(parts))
    },
  },
  {
    name: 'stream.Writable.fromWeb, Duplex.fromWeb',
    async use(memory) {
      const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>()
      const stream = Duplex.fromWeb({ readable, writable } as never)
      for (const half of halves(memory)) stream.write(half)
      stream.end()
      expectBytes(await buffer(stream))
    },
  },
]

const halves = (memory: Memory) => [memory.holding(SAMPLE.subarray(0, HALF)), memory.holding(SAMPLE.subarray(HALF))]

/** A stream of no type that gives these chunks. */
function chunkStream(...chunks: Uint8Array[]): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller) {
      for (const chunk of chunks) controller.enqueue(chunk)
      controller.close()
    },
  })
}

export const moveApis: ApiGroup = {
  title: 'Messages, clones, transfers and streams of the Web',
  apis: [...clones, ...transfers, ...byteStreams, ...otherStreams],
}
