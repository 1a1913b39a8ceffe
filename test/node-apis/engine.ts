import v8 from 'node:v8'
import vm from 'node:vm'
import { type ApiGroup, expect, expectBytes, SAMPLE } from './api.ts'

/** A module that exports a function of no arguments that gives 42. */
const WASM = Buffer.from('0061736d010000000105016000017f03020100070501016600000a06010400412a0b', 'hex')

/** The part of WebAssembly that is used here; @types/node has none of it. */
const { WebAssembly } = globalThis as unknown as {
  WebAssembly: {
    validate(bytes: Uint8Array): boolean
    compile(bytes: Uint8Array): Promise<object>
    Module: new (bytes: Uint8Array) => object
    Instance: new (module: object) => { exports: { f(): number } }
    instantiateStreaming(source: Response): Promise<{ instance: { exports: { f(): number } } }>
    instantiate(bytes: Uint8Array): Promise<{ instance: { exports: { f(): number } } }>
  }
}

/** What the types of ES2023 don't know. */
interface Waiting {
  waitAsync(words: Int32Array<SharedArrayBuffer>, index: number, value: number): { value: Promise<string> }
}

export const engineApis: ApiGroup = {
  title: 'Atomics, V8 and WebAssembly',
  apis: [
    {
      name: 'Atomics.add, store, load, notify',
      use(memory) {
        const words = memory.array(Int32Array, 4)
        Atomics.store(words, 1, 40)
        expect(Atomics.add(words, 1, 2) === 40 && Atomics.load(words, 1) === 42, 'another number')
        expect(Atomics.notify(words, 1) === 0, 'somebody waits')
      },
    },
    {
      name: 'Atomics.wait',
      reason: 'every buffer',
      exceptions: [{ from: 20, outcome: 'refused: TypeError' }],
      use(memory) {
        expect(Atomics.wait(memory.array(Int32Array, 1).fill(0), 0, 1) === 'not-equal', 'it waited')
      },
    },
    {
      name: 'Atomics.wait, waitAsync, notify over heap.buffer',
      async use(memory) {
        const view = memory.array(Int32Array, 1).fill(7)
        const shared = new Int32Array(memory.heap.buffer, memory.addressOf(view), 1)
        expect(Atomics.wait(shared, 0, 8) === 'not-equal', 'it waited')
        const waiting = (Atomics as unknown as Waiting).waitAsync(shared, 0, 7)
        expect(Atomics.notify(shared, 0) === 1 && (await waiting.value) === 'ok', 'nobody waited')
      },
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
    {
      name: 'WebAssembly.instantiateStreaming',
      async use(memory) {
        const response = new Response(memory.holding(WASM), { headers: { 'content-type': 'application/wasm' } })
        const { instance } = await WebAssembly.instantiateStreaming(response)
        expect(instance.exports.f() === 42, 'another module')
      },
    },
    {
      name: 'vm.runInNewContext, a view made there',
      use(memory) {
        const { buffer, byteOffset, length } = memory.holding()
        const view = 'new Uint8Array(buffer, byteOffset, length)'
        expectBytes(vm.runInNewContext(`Array.from(${view}).join()`, { buffer, byteOffset, length }), SAMPLE.join())
      },
    },
  ],
}
