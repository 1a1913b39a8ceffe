import fs from 'node:fs'
import type { FileHandle } from 'node:fs/promises'
import { Socket } from 'node:net'
import type { Writable } from 'node:stream'

/*
 * The targets that may be given a buffer's own memory: those of Node's own that are known to call back only after the system is done with it.
 *
 * What a target looks like tells nothing: a stream with all methods of a socket may pass a chunk on. So a target is known by the functions
 * that the bytes go through, which must be Node's own, and by the native handle at their end. A subclass that overrides one of them, a
 * method that is set on one object, a mock with a handle in JavaScript: none of these is known.
 *
 * Some that look as if they belonged here don't:
 *  - an HTTP/2 stream that is destroyed calls back while its session still sends the beginning of the chunk;
 *  - a zlib stream that is destroyed forgets its callbacks, and nothing tells when its thread is done;
 *  - `process.stdout` says that it is closed, and goes on.
 */

/** A socket of Node's own over a native handle, to which a stream writes what it is given as it is; undefined if there is none. */
export function nativeSocket(stream: Writable): Socket | undefined {
  const socket = isMessage(stream) ? stream.socket : stream
  // A message says nothing of what it doesn't write to a socket that was destroyed.
  if (!hasAll(socket, OF_SOCKET) || (socket as Socket).destroyed) return undefined
  const { _handle: handle } = socket as { _handle?: object | null }
  return handle !== undefined && handle !== null && isNative(handle) ? (socket as Socket) : undefined
}

/** Whether a stream is one of `fs.createWriteStream` that writes by Node's own functions, and not by those of the option `fs`. */
export function isFileStream(stream: Writable): boolean {
  if (!hasAll(stream, OF_FILE_STREAM)) return false
  const key = symbolOf(stream, 'kFs')
  const functions = key === undefined ? undefined : stream[key as keyof Writable]
  return (functions as unknown) === fs && hasAll(fs, OF_FS)
}

/** Whether a file is one that `fs.promises.open` has opened. */
export function isNativeFile(file: FileHandle): boolean {
  if (file.write === fileWrite) return true
  const key = Object.hasOwn(file, 'write') ? undefined : symbolOf(file, 'kHandle')
  if (key === undefined || !isNative(file[key as keyof FileHandle] as object)) return false
  fileWrite = file.write
  return true
}

/** `FileHandle.prototype.write`: the class has no name outside of Node, so it is learnt from the first file that is seen. */
let fileWrite: FileHandle['write'] | undefined

/** Functions by name. */
type Methods = readonly (readonly [name: string, method: unknown])[]

const OF_SOCKET = methodsOf(Socket.prototype, 'write', '_write', '_writev', '_writeGeneric', 'destroy', '_destroy')
const OF_FILE_STREAM = methodsOf(fs.WriteStream.prototype, 'write', '_write', '_writev')
const OF_FS = methodsOf(fs, 'write', 'writev')
/** Those of an HTTP/1 message, once one was seen: who uses none needn't load the module. */
let ofMessage: Methods | undefined

function methodsOf(owner: object, ...names: string[]): Methods {
  return names.map((name) => [name, owner[name as keyof object]])
}

function hasAll(owner: unknown, methods: Methods): boolean {
  if (typeof owner !== 'object' || owner === null) return false
  for (const [name, method] of methods) if (owner[name as keyof object] !== method) return false
  return true
}

/** An HTTP/1 message that is sent: it writes to its socket, once it has one. */
function isMessage(stream: Writable): stream is Writable & { socket: unknown } {
  if (!('socket' in stream && '_writeRaw' in stream)) return false
  ofMessage ??= methodsOf(
    process.getBuiltinModule('node:http').OutgoingMessage.prototype,
    'write',
    '_send',
    '_writeRaw'
  )
  return hasAll(stream, ofMessage)
}

/** The classes of Node's handles that write by libuv, or encrypt; and of files. */
const NATIVE = new Set(['TCP', 'Pipe', 'TTY', 'TLSWrap', 'FileHandle'])
/** What is known of handles, by their class. */
const nativeClasses = new WeakMap<object, boolean>()

function isNative(handle: object): boolean {
  const { constructor: made } = handle
  if (typeof made !== 'function' || Object.hasOwn(handle, 'writeBuffer') || Object.hasOwn(handle, 'writev'))
    return false
  let isKnown = nativeClasses.get(made)
  if (isKnown === undefined) {
    // This is how native classes are printed, and no other function is.
    const text = Function.prototype.toString.call(made)
    isKnown = NATIVE.has(made.name) && text === `function ${made.name}() { [native code] }`
    nativeClasses.set(made, isKnown)
  }
  return isKnown
}

function symbolOf(owner: object, description: string): symbol | undefined {
  return Object.getOwnPropertySymbols(owner).find((symbol) => symbol.description === description)
}
