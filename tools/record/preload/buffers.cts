import buffer = require('node:buffer')

import { syncBuiltinESMExports } from 'node:module'
import { isAnyArrayBuffer } from 'node:util/types'
import { NodeRecordKind } from '../node-record.ts'
import { arrayMade, bufferOf, byteLengthOf, CAN_MOVE, observeConstructor } from './array-buffers.cts'
import type { Blocks } from './blocks.cts'
import { observed, replaceValue } from './replace.cts'

type Kind = NodeRecordKind.Malloc | NodeRecordKind.Calloc
type BufferFunction = (value: unknown, encodingOrOffset?: unknown, length?: unknown) => Buffer
type Observer = (made: Buffer, args: unknown[]) => void

const Original = Buffer as typeof Buffer & BufferFunction

/**
 * Puts another function in Buffer's place, with the same prototype and the same properties, of which those that allocate are
 * observed. Node's own code keeps the original: what it makes for itself isn't the program's.
 */
function observeBuffers(blocks: Blocks): void {
  const observers = observersOf(blocks)
  function replaced(value: unknown, encodingOrOffset?: unknown, length?: unknown): Buffer {
    const made = Original(value, encodingOrOffset, length)
    if (typeof value === 'number') observers.alloc!(made, [value])
    else observers.from!(made, [value])
    return made
  }
  const replacement = replaced as unknown as typeof Buffer
  const copyPoolSize = () => {
    Original.poolSize = replacement.poolSize // a program may set it, and the original reads its own
  }
  for (const key of Reflect.ownKeys(Original)) {
    Object.defineProperty(replacement, key, Object.getOwnPropertyDescriptor(Original, key)!)
  }
  for (const [name, observe] of Object.entries(observers)) {
    replaceValue(replacement, name, observed(Original[name as 'from'] as never, observe, copyPoolSize))
  }
  observeSpecies(blocks, replacement)
  Object.setPrototypeOf(replacement, Uint8Array)
  replaceValue(Original.prototype, 'constructor', replacement)
  publish(replacement)
}

/** What each function that allocates has to be observed for. */
function observersOf(blocks: Blocks): Record<string, Observer> {
  const malloc = (made: Buffer) => bufferMade(blocks, NodeRecordKind.Malloc, made)
  return {
    alloc: (made, [, fill]) => {
      const isZero = fill === undefined || fill === 0
      bufferMade(blocks, isZero ? NodeRecordKind.Calloc : NodeRecordKind.Malloc, made)
    },
    allocUnsafe: malloc,
    allocUnsafeSlow: malloc,
    concat: malloc,
    copyBytesFrom: malloc,
    from: (made, [value]) => {
      if (!isView(value)) malloc(made)
    },
    of: malloc,
  }
}

/**
 * Tells of a new Buffer. One that Node has cut from its pool is a block for itself, which ends with the Buffer: that is what
 * a program asks for, and the pool's slab is Node's. Any other lives as long as its ArrayBuffer.
 */
function bufferMade(blocks: Blocks, kind: Kind, made: Buffer): void {
  const memory = bufferOf(made)
  const size = byteLengthOf(made)
  const isPooled = memory.byteLength !== size
  blocks.allocated(kind, isPooled ? made : memory, size, CAN_MOVE && !isPooled)
}

/** True for what `Buffer.from` makes a view of and no copy: an ArrayBuffer, or an object that has one for its value. */
function isView(value: unknown): boolean {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value) || Array.isArray(value)) return false
  return isAnyArrayBuffer(value) || isAnyArrayBuffer(value.valueOf?.())
}

/** `map`, `filter` and the like make their result by this constructor. */
function observeSpecies(blocks: Blocks, replacement: typeof Buffer): void {
  const species = (Original as unknown as { [Symbol.species]: new (...args: unknown[]) => Buffer })[Symbol.species]
  const observedSpecies = observeConstructor(species, (made, [first]) => arrayMade(blocks, made, first))
  Object.defineProperty(replacement, Symbol.species, {
    configurable: true,
    enumerable: false,
    get: () => observedSpecies,
  })
}

/** Gives the replacement to `globalThis`, to those who require `node:buffer` and to those who import it. */
function publish(replacement: typeof Buffer): void {
  const { get, ...rest } = Object.getOwnPropertyDescriptor(globalThis, 'Buffer')!
  Object.defineProperty(
    globalThis,
    'Buffer',
    get ? { ...rest, get: () => replacement } : { ...rest, value: replacement }
  )
  replaceValue(buffer, 'Buffer', replacement)
  syncBuiltinESMExports()
}

export { observeBuffers }
