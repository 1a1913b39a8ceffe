import { NodeRecordKind } from '../node-record.ts'
import type { Blocks } from './blocks.cts'
import { observeMethod, replaceValue } from './replace.cts'

type AnyConstructor = new (...args: unknown[]) => object

const TypedArray: object = Object.getPrototypeOf(Uint8Array)
/** The getters themselves: a subclass may have others of the same name. */
const bufferOf = getter<ArrayBufferLike>('buffer')
const byteLengthOf = getter<number>('byteLength')

/** Where ArrayBuffers can be moved, each must be known again. */
const CAN_MOVE = 'transfer' in ArrayBuffer.prototype

const TYPED_ARRAYS = [
  'Int8Array',
  'Uint8Array',
  'Uint8ClampedArray',
  'Int16Array',
  'Uint16Array',
  'Int32Array',
  'Uint32Array',
  'Float16Array',
  'Float32Array',
  'Float64Array',
  'BigInt64Array',
  'BigUint64Array',
] as const

function getter<T>(name: string): (array: object) => T {
  const get = Object.getOwnPropertyDescriptor((TypedArray as { prototype: object }).prototype, name)!.get!
  return Function.prototype.call.bind(get) as (array: object) => T
}

/**
 * Puts a proxy in a constructor's place, which tells of all that it makes. Subclasses call it, and methods that make another
 * of an object's own kind find it by the object's `constructor`.
 */
function observeConstructor<T extends AnyConstructor>(
  original: T,
  observe: (made: InstanceType<T>, args: unknown[]) => void
): T {
  const proxy: T = new Proxy(original, {
    construct(target, args, newTarget) {
      const made = Reflect.construct(target, args, newTarget === proxy ? target : newTarget)
      observe(made, args)
      return made
    },
  })
  return proxy
}

function replaceConstructor<T extends AnyConstructor>(
  name: string,
  observe: (made: InstanceType<T>, args: unknown[]) => void
): void {
  const original = (globalThis as unknown as Record<string, T | undefined>)[name]
  if (original === undefined) return // this engine doesn't have it
  const proxy = observeConstructor(original, observe)
  replaceValue(original.prototype, 'constructor', proxy)
  replaceValue(globalThis, name, proxy)
}

/** Tells of a new Buffer or typed array, unless it is a view of the ArrayBuffer that its first argument is. */
function arrayMade(blocks: Blocks, made: object, first: unknown): void {
  const memory = bufferOf(made)
  if (memory === first) return
  const kind = typeof first === 'object' && first !== null ? NodeRecordKind.Malloc : NodeRecordKind.Calloc
  blocks.allocated(kind, memory, byteLengthOf(made), CAN_MOVE)
}

/** Records ArrayBuffers and SharedArrayBuffers. */
function observeArrayBuffers(blocks: Blocks): void {
  const made = (buffer: ArrayBufferLike, [, options]: unknown[]) =>
    blocks.allocated(NodeRecordKind.Calloc, buffer, buffer.byteLength, CAN_MOVE || options !== undefined)
  const resized = (_: never, __: unknown[], self: unknown) =>
    blocks.resized(self as object, (self as ArrayBufferLike).byteLength)
  const moved = (to: ArrayBuffer, _: unknown[], from: unknown) => blocks.moved(from as object, to, to.byteLength)
  observeMethod(ArrayBuffer.prototype, 'resize', resized)
  observeMethod(SharedArrayBuffer.prototype, 'grow', resized)
  observeMethod(ArrayBuffer.prototype, 'transfer', moved)
  observeMethod(ArrayBuffer.prototype, 'transferToFixedLength', moved)
  replaceConstructor<AnyConstructor & typeof ArrayBuffer>('ArrayBuffer', made)
  replaceConstructor<AnyConstructor & typeof SharedArrayBuffer>('SharedArrayBuffer', made)
}

/** Records typed arrays that have memory of their own. */
function observeTypedArrays(blocks: Blocks): void {
  const copied = (made: object) => arrayMade(blocks, made, null)
  const { prototype } = TypedArray as { prototype: object }
  // These make an array of the engine's own kind, without a constructor that could be replaced.
  for (const name of ['toReversed', 'toSorted', 'with']) observeMethod(prototype, name, copied)
  for (const name of ['fromBase64', 'fromHex']) observeMethod(Uint8Array, name, copied)
  for (const name of TYPED_ARRAYS) replaceConstructor(name, (made, [first]) => arrayMade(blocks, made, first))
}

export { arrayMade, bufferOf, byteLengthOf, CAN_MOVE, observeArrayBuffers, observeConstructor, observeTypedArrays }
