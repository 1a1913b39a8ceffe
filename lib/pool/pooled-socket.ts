import { Buffer } from 'node:buffer'
import { EventEmitter } from 'node:events'
import { type ConnectOpts, connect, type NetConnectOpts, Server, type ServerOpts, type Socket } from 'node:net'
import { inspect, types } from 'node:util'
import { AllocatorError, wrongType } from '../base/errors.ts'
import { warnSafely } from '../base/warning.ts'
import { HOST, type HostHeap } from '../lifetime/host.ts'
import type { Lease } from '../lifetime/lease.ts'

/** Chunks that wait to be read before a socket is paused. */
const MOST_WAITING = 4

/** A part of a lease's buffer, or of an ordinary one if the pool had none left. */
export interface Received {
  bytes: Buffer
  lent: Lent | undefined
}

/** A lease, and a heap that isn't closed before the bytes are read. */
interface Lent {
  readonly lease: Lease
  giveBack(): void
}

/** The memory that a socket reads into. */
export interface ReadMemory {
  readonly size: number
  /** A lease, if there is one. */
  tryLease(): Lease | undefined
  readonly heap: HostHeap
  /** A view of the first bytes of a lease's buffer. */
  first(lease: Lease, length: number): Buffer
}

/** The reader of each pooled socket. */
const received = new WeakMap<Socket, Reading>()

/**
 * The received bytes of a socket, by Node's option `onread`: the system's bytes go straight to a pool's buffer, and there is no event
 * `data`. The socket holds one lease, for the next read, until it is closed.
 */
class Reading {
  readonly queue: Received[] = []
  socket: Socket | undefined
  private readonly memory: ReadMemory
  private next: Lent | undefined
  /** The ordinary buffer that a socket reads into if the pool has none left. */
  private spare: Buffer | undefined
  private isOver = false
  private failure: Error | undefined
  private readers = 0
  /** Resolved when there is something new to look at. */
  private news: Promise<void> | undefined
  private tellNews: (() => void) | undefined

  constructor(memory: ReadMemory) {
    this.memory = memory
  }

  /** The options of the socket. */
  readonly onread = {
    buffer: (): Buffer => {
      // Node asks again before anything was read: each address that a connection tries has a handle of its own.
      this.next ??= this.leaseNext()
      this.spare = this.next === undefined ? Buffer.allocUnsafeSlow(this.memory.size) : undefined
      return this.next?.lease.buffer ?? this.spare!
    },
    // The buffer that was read into. Node asks for another one after this callback.
    callback: (length: number): boolean => {
      const lent = this.next
      this.next = undefined
      const bytes = lent === undefined ? this.spare!.subarray(0, length) : this.memory.first(lent.lease, length)
      this.queue.push({ bytes, lent })
      this.tell()
      return this.queue.length < MOST_WAITING
    },
  }

  /** Begins to follow the socket. */
  follow(socket: Socket): void {
    this.socket = socket
    received.set(socket, this)
    socket.once('end', () => {
      // Nothing more is read, so no buffer need wait until the socket is closed. If the program itself pushed the end, the handle still
      // reads.
      ;(socket as AcceptedSocket)._handle?.readStop?.()
      this.giveUpNext()
      this.end()
    })
    socket.once('error', this.fail)
    socket.once('close', () => {
      this.end()
      this.giveUp()
    })
  }

  /** Our listener of the socket's event `error`. */
  readonly fail = (error: Error): void => this.end(error)

  /** The handle is closed, or there never was one: nothing reads any more. */
  giveUp(): void {
    this.giveUpNext()
    if (this.readers === 0) this.copyQueue()
  }

  private giveUpNext(): void {
    this.next?.giveBack()
    this.next = undefined
  }

  /** A reader begins. */
  begin(): void {
    this.readers++
  }

  /** The next chunk; undefined if there is none yet, and at the end. @throws the socket's error */
  take(): Received | undefined {
    const chunk = this.queue.shift()
    if (chunk !== undefined) return chunk
    if (this.failure !== undefined) throw this.failure
    if (!this.isOver) this.socket!.resume()
    return undefined
  }

  /** Waits until there may be a chunk; undefined at the end. A reader that stops waiting misses nothing. */
  more(): Promise<void> | undefined {
    if (this.isOver) return undefined
    this.news ??= new Promise((resolve) => {
      this.tellNews = resolve
    })
    return this.news
  }

  /** One reader fewer. After the last one, received chunks wait for the next reader. */
  drop(): void {
    if (--this.readers === 0) this.copyQueue()
  }

  /** A lease for the next read; undefined if the pool has no buffer left, or no memory, or is closed. */
  private leaseNext(): Lent | undefined {
    try {
      const lease = this.memory.tryLease()
      if (lease === undefined) return undefined
      const end = this.memory.heap[HOST].operations.begin()
      return {
        lease,
        giveBack: () => {
          lease.release()
          end()
        },
      }
    } catch (error) {
      if (error instanceof AllocatorError) return undefined
      throw error
    }
  }

  /** Copies the received chunks while there is no reader: there may never be one, so they must not keep buffers of the pool. */
  private copyQueue(): void {
    for (const chunk of this.queue) {
      if (chunk.lent === undefined) continue
      chunk.bytes = Buffer.from(chunk.bytes)
      chunk.lent.giveBack()
      chunk.lent = undefined
    }
  }

  private end(error?: Error): void {
    this.isOver = true
    this.failure ??= error
    this.tell()
  }

  private tell(): void {
    this.tellNews?.()
    this.news = undefined
    this.tellNews = undefined
  }
}

/** The reader of a pooled socket; undefined for any other. */
export function readingOf(socket: unknown): Reading | undefined {
  return received.get(socket as Socket)
}

/** A connection that reads into a pool's buffers. @param args those of `net.connect` */
export function connectPooled(memory: ReadMemory, args: unknown[]): Socket {
  const { options, listener } = connectArguments(args)
  const reading = new Reading(memory)
  try {
    const socket = connect({ ...options, onread: reading.onread } as unknown as NetConnectOpts & ConnectOpts, listener)
    reading.follow(socket)
    return socket
  } catch (error) {
    reading.giveUp() // Node refused the options, after it had asked for the buffer
    throw error
  }
}

/** The arguments of `net.connect` in any of its forms: options, a port and maybe a host, a path; each with or without a listener. */
function connectArguments(args: unknown[]): { options: object; listener: (() => void) | undefined } {
  const [first, second] = args
  const last = args[args.length - 1]
  const listener = typeof last === 'function' ? (last as () => void) : undefined
  if (typeof first === 'object' && first !== null) return { options: first, listener }
  if (typeof first === 'string' && !(Number(first) >= 0)) return { options: { path: first }, listener }
  return { options: { port: first, ...(typeof second === 'string' ? { host: second } : {}) }, listener }
}

/** What a program does with a connection. If it returns a promise that is rejected, the connection ends. */
export type ConnectionListener = (socket: Socket) => void | Promise<void>

/** Makes a server whose connections read into a pool's buffers, from the arguments of `net.createServer`. */
export function createPooledServer(
  memory: ReadMemory,
  options: ServerOpts | ConnectionListener | undefined,
  listener: ConnectionListener | undefined
): Server {
  const listen = typeof options === 'function' ? options : listener
  if (listen !== undefined && typeof listen !== 'function') throw wrongType('listener', 'a function', listen)
  // To Node, missing options are the same as `{}`. Node also knows best which options there are.
  const chosen = typeof options === 'function' ? {} : (options ?? {})
  if (typeof chosen !== 'object') throw wrongType('options', 'an object', chosen)
  return new PooledServer(memory, chosen, listen)
}

/**
 * Node's server, except that accepted sockets read into a pool's buffers. Node has `onread` for sockets that a program makes, not for those
 * that a server accepts: so an accepted socket is changed into one that has it, before the program gets it.
 *
 * Listeners are watched for rejections, as by the option `captureRejections` of an EventEmitter: the socket is destroyed.
 */
class PooledServer extends Server {
  readonly #memory: ReadMemory

  constructor(memory: ReadMemory, options: ServerOpts, listener: ConnectionListener | undefined) {
    super(options, listener)
    this.#memory = memory
    EventEmitter.call(this as never, { captureRejections: true })
  }

  override emit(event: string | symbol, ...args: unknown[]): boolean {
    if (event === 'connection') receive(this.#memory, args[0] as AcceptedSocket)
    return (super.emit as (...all: unknown[]) => boolean).call(this, event, ...args)
  }

  /** A listener has returned a promise that was rejected. */
  override [EventEmitter.captureRejectionSymbol](error: Error, event: string, ...args: unknown[]): void {
    if (event === 'connection') endFailed(args[0] as Socket, error)
    else super[EventEmitter.captureRejectionSymbol]?.(error, event as never, ...(args as never[]))
  }
}

/**
 * Destroys the socket of a listener that failed. Our reader listens for the socket's error: so a bug of the listener, of which the program
 * would hear nothing, is warned of. What was thrown may be anything, and so may what a program passes to a server by `emit`.
 */
function endFailed(socket: Socket, thrown: unknown): void {
  let isTold = isOfConnection(thrown, socket)
  try {
    const ours = received.get(socket)?.fail
    const isListenedTo = socket.listeners('error').some((listener) => listener !== ours)
    // The event comes once, and with an error only.
    isTold ||= isListenedTo && !socket.destroyed && Boolean(thrown)
    if (!isListenedTo) socket.on('error', () => {})
    socket.destroy(errorOf(thrown))
  } catch {
    // It was no socket.
  }
  if (!isTold) warnSafely("a listener of a pool's server failed, and its socket was destroyed", shown(thrown))
}

/** What a write to a socket, or Node's own reading of it, is rejected with once it is over. */
const OVER: unknown[] = ['ERR_STREAM_PREMATURE_CLOSE', 'ERR_STREAM_DESTROYED', 'EPIPE']

/** Whether a listener failed since its connection was over, or it was aborted: no fault of the listener's, and its peer may bring it on. */
function isOfConnection(thrown: unknown, socket: Socket): boolean {
  try {
    const { name, code } = thrown as NodeJS.ErrnoException
    return thrown === socket.errored || name === 'AbortError' || (socket.destroyed && OVER.includes(code))
  } catch {
    return false
  }
}

/** What a socket can be destroyed with: Node reads the stack, and would stop halfway if that throws. */
function errorOf(thrown: unknown): Error {
  const error = thrown as Error | undefined
  try {
    void error?.stack
    if (!types.isProxy(error)) return error as Error
  } catch {
    // Its getter throws.
  }
  return new Error('the listener failed', { cause: error })
}

function shown(thrown: unknown): string {
  try {
    return inspect(thrown)
  } catch {
    return "what it threw can't be shown"
  }
}

/** A Socket's fields that have no public name. They are the same in Node 20 to 26, as test/pool checks. */
interface AcceptedSocket extends Socket {
  readonly _handle?: { useUserBuffer?(buffer: Buffer): void; readStop?(): void } | null
  [field: symbol]: unknown
}

/** The symbols of the fields in which a Socket keeps its option `onread`. */
const ONREAD_FIELDS = ['kBuffer', 'kBufferCb', 'kBufferGen'] as const

/**
 * Makes an accepted socket that has read nothing yet read into a pool's buffers. A socket that isn't Node's own, such as a program may pass
 * to a server by `emit`, stays as it is; `pool.read` copies its chunks.
 */
function receive(memory: ReadMemory, socket: AcceptedSocket): void {
  const handle = socket?._handle
  if (typeof handle?.useUserBuffer !== 'function' || received.has(socket)) return
  const symbols = Object.getOwnPropertySymbols(socket)
  const [buffer, callback, generator] = ONREAD_FIELDS.map((name) =>
    symbols.find(({ description }) => description === name)
  )
  if (buffer === undefined || callback === undefined || generator === undefined || socket[buffer] !== null) return
  const reading = new Reading(memory)
  const { onread } = reading
  const first = onread.buffer()
  socket[buffer] = first
  socket[callback] = onread.callback
  socket[generator] = onread.buffer
  handle.useUserBuffer(first)
  reading.follow(socket)
}
