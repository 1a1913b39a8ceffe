import { once } from 'node:events'
import v8 from 'node:v8'
import vm from 'node:vm'
import { BroadcastChannel, MessageChannel, receiveMessageOnPort, Worker } from 'node:worker_threads'
import { type ApiGroup, type Exception, expect, expectBytes, type Memory, SAMPLE } from './api.ts'

/** A module that exports a function of no arguments that gives 42. */
const WASM = Buffer.from('0061736d010000000105016000017f03020100070501016600000a06010400412a0b', 'hex')
const WORKER = "const { parentPort, workerData } = require('node:worker_threads');"

/** The part of WebAssembly that is used here; @types/node has none of it. */
const { WebAssembly } = globalThis as unknown as {
  WebAssembly: {
    validate(bytes: Uint8Array): boolean
    compile(bytes: Uint8Array): Promise<object>
    Module: new (bytes: Uint8Array) => object
    Instance: new (module: object) => { exports: { f(): number } }
    instantiate(bytes: Uint8Array): Promise<{ instance: { exports: { f(): number } } }>
  }
}

/** Waiting takes shared memory by its very nature. */
const CANT_WAIT: readonly Exception[] = [{ from: 20, outcome: 'refused: TypeError' }]

/** What @types/node for Node 20 doesn't know. */
interface Transferable {
  transfer(): ArrayBuffer
}

/** A transfer takes the whole ArrayBuffer, which is all of the heap, out of the giver's hands. */
const TAKEN: readonly Exception[] = [{ from: 20, outcome: 'detached' }]
const NOT_TRANSFERABLE: readonly Exception[] = [
  { from: 20, to: 20, outcome: 'refused: ERR_INVALID_TRANSFER_OBJECT' },
  { from: 22, outcome: 'refused: DataCloneError' },
]

/** What a worker finds in the view that it is given. */
async function seenBy(code: string, workerData: unknown, post?: unknown): Promise<string> {
  const worker = new Worker(WORKER + code, { eval: true, workerData })
  try {
    if (post !== undefined) worker.postMessage(post)
    return (await once(worker, 'message'))[0]
  } finally {
    await worker.terminate()
  }
}

/** Whether a copy that was made shares the memory, as it must with shared memory and must not with private. */
function expectSharing(memory: Memory, original: Uint8Array, copy: Uint8Array): void {
  expectBytes(copy)
  original[0]! ^= 255
  expect((copy[0] === original[0]) === (memory.kind === 'shared'), 'it shares memory, or should')
}

export const threadApis: ApiGroup = {
  title: 'Threads, messages and V8',
  apis: [
    {
      name: 'structuredClone',
      use(memory) {
        const bytes = memory.holding()
        expectSharing(memory, bytes, structuredClone(bytes))
      },
    },
    {
      name: 'MessagePort.postMessage',
      use(memory) {
        const { port1, port2 } = new MessageChannel()
        const bytes = memory.holding()
        port1.postMessage(bytes)
        const received = receiveMessageOnPort(port2)!.message
        port1.close()
        expectSharing(memory, bytes, received)
      },
    },
    {
      name: 'BroadcastChannel.postMessage',
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
      use: async (memory) =>
        expectBytes(
          Buffer.from(
            await seenBy("parentPort.postMessage(Buffer.from(workerData).toString('hex'))", memory.holding()),
            'hex'
          )
        ),
    },
    {
      name: 'Worker.postMessage',
      use: async (memory) => {
        const code = "parentPort.once('message', (view) => parentPort.postMessage(Buffer.from(view).toString('hex')))"
        expectBytes(Buffer.from(await seenBy(code, undefined, memory.holding()), 'hex'))
      },
    },
    {
      name: 'MessagePort.postMessage, buf.buffer in the transfer list',
      shared: NOT_TRANSFERABLE,
      private: TAKEN,
      use(memory) {
        const { port1, port2 } = new MessageChannel()
        const bytes = memory.holding()
        try {
          port1.postMessage(bytes, [bytes.buffer])
          expectBytes(receiveMessageOnPort(port2)!.message)
        } finally {
          port1.close()
        }
      },
    },
    {
      name: 'ArrayBuffer.prototype.transfer of buf.buffer',
      since: 22,
      exists: () => 'transfer' in ArrayBuffer.prototype,
      shared: [{ from: 22, outcome: 'refused: TypeError' }],
      private: TAKEN,
      use(memory) {
        const { buffer, byteOffset, length } = memory.holding()
        const moved = (ArrayBuffer.prototype as unknown as Transferable).transfer.call(buffer)
        expectBytes(new Uint8Array(moved, byteOffset, length))
      },
    },
    {
      name: 'Atomics.wait',
      private: CANT_WAIT,
      use({ heap }) {
        expect(Atomics.wait(heap.allocArray(Int32Array, 1).fill(0), 0, 1) === 'not-equal', 'it waited')
      },
    },
    {
      name: 'v8.serialize',
      use: (memory) => expectBytes(v8.deserialize(v8.serialize(memory.holding()))),
    },
    {
      name: 'v8.deserialize',
      use: (memory) => expectBytes(v8.deserialize(memory.holding(v8.serialize(Buffer.from(SAMPLE))))),
    },
    {
      name: 'WebAssembly.validate',
      use(memory) {
        expect(WebAssembly.validate(memory.holding(WASM)), 'it is not accepted')
        expect(!WebAssembly.validate(memory.holding()), 'it is accepted')
      },
    },
    {
      name: 'WebAssembly.compile',
      async use(memory) {
        const module = await WebAssembly.compile(memory.holding(WASM))
        expect(new WebAssembly.Instance(module).exports.f() === 42, 'another module')
      },
    },
    {
      name: 'WebAssembly.instantiate',
      async use(memory) {
        const { instance } = await WebAssembly.instantiate(memory.holding(WASM))
        expect(instance.exports.f() === 42, 'another module')
      },
    },
    {
      name: 'new WebAssembly.Module',
      use(memory) {
        const module = new WebAssembly.Module(memory.holding(WASM))
        expect(new WebAssembly.Instance(module).exports.f() === 42, 'another module')
      },
    },
    {
      name: 'vm.Script, cachedData',
      use(memory) {
        const code = '(function () { return 42 })()'
        const cachedData = memory.holding(new vm.Script(code).createCachedData())
        const script = new vm.Script(code, { cachedData })
        expect(script.cachedDataRejected === false && script.runInThisContext() === 42, 'the data is not accepted')
      },
    },
  ],
}
