import fs from 'node:fs'
import type { FileHandle } from 'node:fs/promises'
import { Socket } from 'node:net'
import type { Writable } from 'node:stream'

/*
 * The targets that may be given a buffer's own memory: those of Node's own known to call back only after the system has finished with it.
 *
 * A target's looks prove nothing: a stream with all methods of a socket may pass a chunk on. So a target is recognized by the functions
 * that the bytes go through, which must be Node's own, and by the native handle at their end. Not recognized: a subclass that overrides one
 * of them, a method set on one object, a mock with a handle in JavaScript.
 *
 * Some that seem to belong here don't:
 *  - an HTTP/2 stream that is destroyed calls back while its session still sends the beginning of the chunk;
 * - a zlib stream that is destroyed forgets its callbacks, and gives no sign when its thread is done;
 * - `process.stdout` reports that it is closed, and goes on.
 */

/** The socket of Node's own, over a native handle, to which a stream writes its chunks unchanged; undefined if there is none. */
export function nativeSocket(stream: Writable): Socket | undefined {
  const socket = isMessage(stream) ? stream.socket : stream
  // A message doesn't report chunks that it fails to write to a destroyed socket.
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

/** Whether a file was opened by `fs.promises.open`. */
export function isNativeFile(file: FileHandle): boolean {
  if (file.write === fileWrite) return true
  const key = Object.hasOwn(file, 'write') ? undefined : symbolOf(file, 'kHandle')
  if (key === undefined || !isNative(file[key as keyof FileHandle] as object)) return false
  fileWrite = file.write
  return true
}

/** `FileHandle.prototype.write`. The class has no name outside Node, so the function is taken from the first file. */
let fileWrite: FileHandle['write'] | undefined

/** Functions by name. */
type Methods = readonly (readonly [name: string, method: unknown])[]

const OF_SOCKET = methodsOf(Socket.prototype, 'write', '_write', '_writev', '_writeGeneric', 'destroy', '_destroy')
const OF_FILE_STREAM = methodsOf(fs.WriteStream.prototype, 'write', '_write', '_writev')
const OF_FS = methodsOf(fs, 'write', 'writev')
/** The functions of an HTTP/1 message, once one was seen: a program without messages needn't load the module. */
let ofMessage: Methods | undefined

function methodsOf(owner: object, ...names: string[]): Methods {
  return names.map((name) => [name, owner[name as keyof object]])
}

function hasAll(owner: unknown, methods: Methods): boolean {
  if (typeof owner !== 'object' || owner === null) return false
  for (const [name, method] of methods) if (owner[name as keyof object] !== method) return false
  return true
}

/** An outgoing HTTP/1 message: it writes to its socket, once it has one. */
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
/** Whether a handle's class is native, by class. */
const nativeClasses = new WeakMap<object, boolean>()

function isNative(handle: object): boolean {
  const { constructor: made } = handle
  if (typeof made !== 'function' || Object.hasOwn(handle, 'writeBuffer') || Object.hasOwn(handle, 'writev'))
    return false
  let isKnown = nativeClasses.get(made)
  if (isKnown === undefined) {
    // Only native classes are printed like this; no other function is.
    const text = Function.prototype.toString.call(made)
    isKnown = NATIVE.has(made.name) && text === `function ${made.name}() { [native code] }`
    nativeClasses.set(made, isKnown)
  }
  return isKnown
}

function symbolOf(owner: object, description: string): symbol | undefined {
  return Object.getOwnPropertySymbols(owner).find((symbol) => symbol.description === description)
}
