import type { FileHandle } from 'node:fs/promises'
import { Socket } from 'node:net'
import type { Writable } from 'node:stream'
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
export async function write(
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
  const operation = isFile ? writeFile(target, bytes, position).finally(letGo) : writeStream(target, bytes, letGo)
  return orAborted(operation, signal)
}

async function writeFile(file: FileHandle, bytes: Uint8Array, position: number | undefined): Promise<void> {
  let written = 0
  while (written < bytes.length) {
    const at = position === undefined ? null : position + written
    written += (await file.write(bytes, written, bytes.length - written, at)).bytesWritten
  }
}

function writeStream(stream: Writable, bytes: Uint8Array, letGo: () => void): Promise<void> {
  return new Promise((resolve, reject) => {
    let isHeld = true
    const end = (error?: Error | null) => {
      if (!isHeld) return
      isHeld = false
      stream.removeListener('close', closed)
      letGo()
      if (error instanceof Error) reject(error)
      else resolve()
    }
    // A stream that is destroyed may forget whom to call. A socket that is closed has nothing left that could still read the memory;
    // of others that isn't known (a compressor's thread may be at work), so what they forget stays held.
    const closed = () => end(stream.errored ?? new Error('the stream was closed before all was written'))
    if (isSocketLike(stream)) stream.once('close', closed)
    stream.write(bytes, end)
  })
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
