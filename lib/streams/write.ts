import { Buffer } from 'node:buffer'
import { errorMonitor } from 'node:events'
import type { FileHandle } from 'node:fs/promises'
import type { Socket } from 'node:net'
import type { Writable } from 'node:stream'
import { clearInterval, setImmediate, setInterval } from 'node:timers'
import { type Abortable, checkSignal, orAborted } from '../base/abort.ts'
import { checkCount } from '../base/arguments.ts'
import { wrongType } from '../base/errors.ts'
import { isFileStream, isNativeFile, nativeSocket } from './zero-copy.ts'

/** Options of a write. */
export interface WriteOptions extends Abortable {
  /**
   * For a file: where to write.
   * @default the file's current position
   */
  position?: number
}

/** Options of the last write to a stream. */
export interface EndOptions extends Abortable {}

/** Ends a hold on a view's memory; undefined if the memory needs none. */
type LetGo = (() => void) | undefined

/** Holds the memory under a view. */
export type Hold = (view: ArrayBufferView) => LetGo

/**
 * Writes all of a view to a stream or a file, and holds its memory until the operation is complete. A target gets a copy unless it is known
 * to have finished with its input when it says so: any other may keep its input, and pass it on.
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
  const socket = isFile ? undefined : nativeSocket(target)
  const isKnown = isFile ? isNativeFile(target) : socket !== undefined || isFileStream(target)
  let copy = isKnown ? undefined : copyOf(view)
  const letGo = hold(view)
  // Memory without a hold is its owner's again when the promise is settled; but the system may still be using it.
  const mayEndEarly = signal !== undefined || (socket !== undefined && socket !== target)
  if (letGo === undefined && mayEndEarly) copy ??= copyOf(view)
  const bytes = copy ?? new Uint8Array(view.buffer, view.byteOffset, view.byteLength)
  if (isFile) return orAborted(writeFile(target, bytes, position, letGo), signal)
  return orAborted(isKnown ? writeHeld(target, socket, bytes, letGo) : writeCopy(target, bytes, letGo), signal)
}

/**
 * The same, after which the stream ends. A message of HTTP that hasn't sent its headers gets the length, as it would by `end(data)`. That isn't
 * called, since it may forget its callback if the socket is destroyed.
 */
export function end(target: Writable, view: ArrayBufferView, options: EndOptions, hold: Hold): Promise<void> {
  if (isFileHandle(target) || !isWritable(target)) throw wrongType('target', 'a Writable', target)
  checkSignal(options.signal)
  if (needsLength(target)) target.setHeader('Content-Length', view.byteLength)
  const written = write(target, view, options, hold)
  target.end()
  return written
}

/** What a message of HTTP shows of its headers. */
interface Headers {
  headersSent: boolean
  statusCode?: number
  hasHeader(name: string): boolean
  setHeader(name: string, value: number): unknown
}

/** Whether a stream is a message whose headers can still be set, and say nothing of its length. */
function needsLength(target: Writable): target is Writable & Headers {
  const { headersSent, statusCode, hasHeader, setHeader } = target as Partial<Headers>
  if (headersSent !== false || typeof hasHeader !== 'function' || typeof setHeader !== 'function') return false
  if (statusCode === 204 || statusCode === 304) return false // these have no body
  return !['Content-Length', 'Transfer-Encoding'].some((name) => (target as Writable & Headers).hasHeader(name))
}

function copyOf(view: ArrayBufferView): Buffer {
  return Buffer.from(new Uint8Array(view.buffer, view.byteOffset, view.byteLength))
}

async function writeFile(
  file: FileHandle,
  bytes: Uint8Array,
  position: number | undefined,
  letGo: LetGo
): Promise<void> {
  // Read once: a view that is detached meanwhile has length 0, and then not everything is written.
  const { length } = bytes
  let written = 0
  try {
    while (written < length) {
      const at = position === undefined ? null : position + written
      written += (await file.write(bytes, written, length - written, at)).bytesWritten
    }
  } finally {
    letGo?.()
  }
}

/** Writes the memory itself to a file, a socket or a message of Node's own. The promise may be rejected before the memory is let go. */
function writeHeld(stream: Writable, socket: Socket | undefined, bytes: Uint8Array, letGo: LetGo): Promise<void> {
  return new Promise((resolve, reject) => {
    const end = (error?: Error | null) => {
      ofStream?.delete(closed)
      ofSocket?.delete(socketClosed)
      letGo?.()
      settle(stream, error, resolve, reject)
    }
    // A closed message may forget its callbacks.
    const closed = () => reject(closedEarly(stream))
    const socketClosed = () => {
      closed()
      // Otherwise the system is still using it, and calls back at its end.
      if (socket!.writableLength === 0) letGo?.()
    }
    const ofStream = stream === socket ? undefined : closings.of(stream).add(closed)
    const ofSocket = socket && closings.of(socket).add(socketClosed)
    try {
      stream.write(bytes, end)
    } catch (error) {
      // Refused, as by an HTTP response that may have no body: there will be no callback.
      end(error as Error)
    }
  })
}

/** Writes to any other stream, from a copy that the stream may keep. The view itself stays held until the end, though nothing reads it. */
function writeCopy(stream: Writable, copy: Uint8Array, letGo: LetGo): Promise<void> {
  return new Promise((resolve, reject) => {
    const listening: Set<Listener>[] = []
    const end = (error?: unknown) => {
      if (!unsettled.delete(end)) return
      for (const listeners of listening) listeners.delete(end)
      letGo?.()
      settle(stream, error, resolve, reject)
    }
    waitFor(stream, end)
    try {
      listening.push(closings.of(stream).add(end))
      const hadEnded = isEnding(stream)
      const pending = callbacksOf(stream)
      let isWriting = true
      let callsBack = stream.write.length >= 3
      const done = (error?: unknown) => {
        // A callback from within `write` itself says only that the chunk was accepted.
        if (isWriting && !error) callsBack = false
        else end(error)
      }
      const hasRoom = callsBack ? stream.write(copy, undefined as never, done) : stream.write(copy, done)
      isWriting = false
      if (pending !== undefined) callsBack = callbacksOf(stream)! > pending
      // A stream that reports its error calls back before that.
      if (isDestroyed(stream) || (hadEnded && !callsBack)) setImmediate(() => end(closedEarly(stream)))
      else if (callsBack) return
      else if (hasRoom !== false) end()
      else for (const events of [drains, finishes, errors]) listening.push(events.of(stream).add(end))
    } catch (error) {
      end(error)
    }
  })
}

/** Pending writes of copies, and their streams. */
const unsettled = new Map<Listener, Writable>()
/**
 * A destroyed stream may give no sign: minipass doesn't, nor does Node with `emitClose: false`. So streams are checked at this interval
 * while a write waits for one.
 */
const LOOK_MS = 100
let looking: NodeJS.Timeout | undefined

function waitFor(stream: Writable, end: Listener): void {
  unsettled.set(end, stream)
  looking ??= setInterval(look, LOOK_MS).unref()
}

function look(): void {
  for (const [end, stream] of unsettled) if (isDestroyed(stream)) end(closedEarly(stream))
  if (unsettled.size > 0) return
  clearInterval(looking)
  looking = undefined
}

function settle(stream: Writable, error: unknown, resolve: () => void, reject: (reason: unknown) => void): void {
  if (error) reject(error)
  // Node also calls back without an error if a stream was destroyed before it was done.
  else if (isDestroyed(stream)) reject(closedEarly(stream))
  else resolve()
}

type Listener = (error?: unknown) => void

/** The listeners for an event of streams: each stream has one listener, however many writes there are. */
class Listeners {
  private readonly event: string | symbol
  /** The error that the event means for them. */
  private readonly errorOf: (stream: Writable, argument: unknown) => unknown
  private readonly waiting = new WeakMap<Writable, Set<Listener>>()

  constructor(event: string | symbol, errorOf: (stream: Writable, argument: unknown) => unknown = () => undefined) {
    this.event = event
    this.errorOf = errorOf
  }

  of(stream: Writable): Set<Listener> {
    const known = this.waiting.get(stream)
    if (known !== undefined) return known
    const listeners = new Set<Listener>()
    this.waiting.set(stream, listeners)
    stream.once(this.event, (argument?: unknown) => {
      this.waiting.delete(stream)
      // Usually no write waits for it any more, and an error has a stack to be taken.
      if (listeners.size === 0) return
      const error = this.errorOf(stream, argument)
      for (const listener of listeners) listener(error)
    })
    return listeners
  }
}

const closings = new Listeners('close', closedEarly)
const drains = new Listeners('drain')
const finishes = new Listeners('finish')
/** Listens without handling the error. */
const errors = new Listeners(errorMonitor, (_, error) => error)

/** A stream's state, as Node's streams show it, and those made like them; an HTTP/2 response shows its stream's. */
interface StreamState {
  destroyed?: boolean
  errored?: Error | null
  writableEnded?: boolean
  _writableState?: { pendingcb?: number; ending?: boolean } | null
  stream?: StreamState | null
}

function isDestroyed(stream: StreamState): boolean {
  return stream.destroyed === true || stream.stream?.destroyed === true
}

function closedEarly(stream: StreamState): Error {
  const error = stream.errored ?? stream.stream?.errored
  if (error) return error
  return Object.assign(new Error('the stream was closed before all was written'), {
    code: 'ERR_STREAM_PREMATURE_CLOSE',
  })
}

function isEnding({ writableEnded, _writableState: state }: StreamState): boolean {
  return writableEnded ?? state?.ending ?? false
}

/** How many callbacks a stream has still to call; undefined if it doesn't count them. */
function callbacksOf({ _writableState: state }: StreamState): number | undefined {
  return state?.pendingcb
}

/** Recognized by the methods that are used. */
function isWritable(target: unknown): target is Writable {
  const { write, once } = (target ?? {}) as Partial<Writable>
  return typeof write === 'function' && typeof once === 'function'
}

/** Recognized by its methods: the class has no name outside Node. */
export function isFileHandle(target: unknown): target is FileHandle {
  const { fd, read, datasync } = (target ?? {}) as Partial<FileHandle>
  return typeof fd === 'number' && typeof read === 'function' && typeof datasync === 'function'
}
