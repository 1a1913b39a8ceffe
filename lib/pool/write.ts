import { Buffer } from 'node:buffer'
import type { FileHandle } from 'node:fs/promises'
import { Socket } from 'node:net'
import { Transform, type Writable } from 'node:stream'
import * as zlib from 'node:zlib'
import { checkCount } from '../arguments.ts'
import { wrongType } from '../errors.ts'
import { type Abortable, checkSignal, orAborted } from './abort.ts'

/** How something is written. */
export interface WriteOptions extends Abortable {
  /** Of a file: where to write. By default where the file is. */
  position?: number
}

/** Whatever holds the memory under a view, until it is told that it needn't; undefined where it is nothing that must be held. */
export type Hold = (view: ArrayBufferView) => (() => void) | undefined

/**
 * Writes all of a view to a stream or a file, and holds its memory until the operation is complete, whatever happens to the stream:
 * the promise may be rejected before.
 */
export function write(
  target: Writable | FileHandle,
  view: ArrayBufferView,
  { position, signal }: WriteOptions,
  hold: Hold
): Promise<void> {
  const isFile = isFileHandle(target)
  if (!isFile && !isWritable(target)) throw wrongType('target', 'a Writable or a FileHandle', target)
  if (position !== undefined) checkCount('position', position)
  checkSignal(signal)
  const letGo = hold(view) ?? (() => {})
  const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength)
  const operation = isFile ? writeFile(target, bytes, position, letGo) : writeStream(target, bytes, letGo)
  return orAborted(operation, signal)
}

async function writeFile(
  file: FileHandle,
  bytes: Uint8Array,
  position: number | undefined,
  letGo: () => void
): Promise<void> {
  // Read once: a view that is detached meanwhile has length 0, and not all is written then.
  const { length } = bytes
  let written = 0
  try {
    while (written < length) {
      const at = position === undefined ? null : position + written
      written += (await file.write(bytes, written, length - written, at)).bytesWritten
    }
  } finally {
    letGo()
  }
}

function writeStream(stream: Writable, bytes: Uint8Array, letGo: () => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const end = (error?: Error | null) => {
      ends.delete(closed)
      letGo()
      if (typeof error === 'object' && error !== null) reject(error)
      // Node calls back without an error also where a stream was destroyed before it was done.
      else if (stream.destroyed) reject(closedEarly(stream))
      else resolve()
    }
    // A stream that is destroyed may forget whom to call.
    const closed = () => {
      reject(closedEarly(stream))
      if (isAtRest(stream)) letGo()
    }
    const ends = endsOf(stream).add(closed)
    try {
      // What passes chunks on is done with them when somebody else has read them, who isn't known here: he gets a copy.
      stream.write(passesOn(stream) ? Buffer.from(bytes) : bytes, end)
    } catch (error) {
      // Refused, as by an HTTP response that may have no body: nobody will call back.
      ends.delete(closed)
      letGo()
      reject(error)
    }
  })
}

/** Who is told when a stream is closed: it has one listener, however many writes there are. */
const closings = new WeakMap<Writable, Set<() => void>>()

function endsOf(stream: Writable): Set<() => void> {
  const known = closings.get(stream)
  if (known !== undefined) return known
  const ends = new Set<() => void>()
  closings.set(stream, ends)
  stream.once('close', () => {
    closings.delete(stream)
    for (const end of ends) end()
  })
  return ends
}

/**
 * Whether a closed stream has nothing left that could still read what it was given. A socket has not, nor a compressor that has failed.
 * Of others that isn't known (a compressor's thread may be at work): what they forget stays held.
 */
function isAtRest(stream: Writable): boolean {
  if (isSocketLike(stream)) return true
  if (!isCompressor(stream)) return false
  // Set by the thread's end only, while `errored` may be another stream's error that this one was destroyed with.
  const failure = Object.getOwnPropertySymbols(stream).find(({ description }) => description === 'kError')
  return failure !== undefined && Boolean((stream as unknown as Record<symbol, unknown>)[failure])
}

function closedEarly(stream: Writable): Error {
  return stream.errored ?? new Error('the stream was closed before all was written')
}

/** What all streams of zlib inherit from. */
const ZlibStream = Object.getPrototypeOf(Object.getPrototypeOf(zlib.Deflate)) as abstract new () => object

/** Streams of zlib read what they are given, and make what they pass on. */
function isCompressor(stream: Writable): boolean {
  // biome-ignore lint/plugin: a class of Node's own, which all realms share
  return stream instanceof ZlibStream
}

/** Whether a stream may hand the very memory that it is given to its reader. */
function passesOn(stream: Writable): boolean {
  return stream instanceof Transform && !isCompressor(stream)
}

function isWritable(target: unknown): target is Writable {
  return typeof target === 'object' && target !== null && typeof (target as Writable).write === 'function'
}

/** By its methods: the class has no name outside of Node. */
export function isFileHandle(target: unknown): target is FileHandle {
  const { fd, read, datasync } = (target ?? {}) as Partial<FileHandle>
  return typeof fd === 'number' && typeof read === 'function' && typeof datasync === 'function'
}

/** A socket, or an HTTP message, which is written to one. */
function isSocketLike(stream: Writable): boolean {
  return stream instanceof Socket || ('socket' in stream && 'setHeader' in stream)
}
