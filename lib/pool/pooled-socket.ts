import { Buffer } from 'node:buffer'
import { EventEmitter } from 'node:events'
import { type ConnectOpts, connect, type NetConnectOpts, Server, type ServerOpts, type Socket } from 'node:net'
import { AllocatorError, wrongType } from '../base/errors.ts'
import { HOST, type HostHeap } from '../lifetime/host.ts'
import type { Lease } from './lease.ts'

/** Chunks that wait to be read before a socket is paused. */
const MOST_WAITING = 4

/** A part of a lease's buffer, or of an ordinary one where the pool had none left. */
export interface Received {
  bytes: Buffer
  lent: Lent | undefined
}

/** A lease, and a heap that isn't closed before the bytes are read. */
interface Lent {
  readonly lease: Lease
  giveBack(): void
}

/** What gives a socket the memory that it reads into. */
export interface ReadMemory {
  readonly size: number
  /** A lease, if there is one. */
  tryLease(): Lease | undefined
  readonly heap: HostHeap
  /** A view of the first bytes of a lease's buffer. */
  first(lease: Lease, length: number): Buffer
}

/** What each pooled socket has received. */
const received = new WeakMap<Socket, Reading>()

/**
 * What a socket has read, by Node's option `onread`: the system's bytes go straight to a pool's buffer, and no event `data` is there.
 * The socket holds one lease, for what comes next, until it is closed.
 */
class Reading {
  readonly queue: Received[] = []
  socket: Socket | undefined
  private readonly memory: ReadMemory
  private next: Lent | undefined
  /** Where the pool has no buffer left, a socket reads into an ordinary one. */
  private spare: Buffer | undefined
  private isOver = false
  private failure: Error | undefined
  private readers = 0
  /** Resolved when there is something to be looked at. */
  private news: Promise<void> | undefined
  private tellNews: (() => void) | undefined

  constructor(memory: ReadMemory) {
    this.memory = memory
  }

  /** The options of the socket. */
  readonly onread = {
    buffer: (): Buffer => {
      // Asked for again before anything was read: each address that a connection tries has a handle of its own.
      this.next ??= this.leaseNext()
      this.spare = this.next === undefined ? Buffer.allocUnsafeSlow(this.memory.size) : undefined
      return this.next?.lease.buffer ?? this.spare!
    },
    // The buffer that was read into; Node asks for another one when this is done.
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
      // Nothing is read any more, so no buffer need wait for it until the socket is closed. If a program itself pushed the end, the handle reads still.
      ;(socket as AcceptedSocket)._handle?.readStop?.()
      this.giveUpNext()
      this.end()
    })
    socket.once('error', (error) => this.end(error))
    socket.once('close', () => {
      this.end()
      this.giveUp()
    })
  }

  /** The handle is closed, or there never was one: nothing reads any more. */
  giveUp(): void {
    this.giveUpNext()
    if (this.readers === 0) this.copyQueue()
  }

  private giveUpNext(): void {
    this.next?.giveBack()
    this.next = undefined
  }

  /** Somebody begins to read. */
  begin(): void {
    this.readers++
  }

  /** The next chunk; undefined where there is none yet, and at the end. @throws the socket's error */
  take(): Received | undefined {
    const chunk = this.queue.shift()
    if (chunk !== undefined) return chunk
    if (this.failure !== undefined) throw this.failure
    if (!this.isOver) this.socket!.resume()
    return undefined
  }

  /** Until there may be a chunk; undefined at the end. Who doesn't wait any more misses nothing. */
  more(): Promise<void> | undefined {
    if (this.isOver) return undefined
    this.news ??= new Promise((resolve) => {
      this.tellNews = resolve
    })
    return this.news
  }

  /** One reads no more. After the last, what was received waits for the next one. */
  drop(): void {
    if (--this.readers === 0) this.copyQueue()
  }

  /** A lease for what comes next; undefined where the pool has none left, or no memory, or is closed. */
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

  /** Nobody reads what the socket has received, and maybe nobody will: it may not keep buffers of the pool. */
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

/** What a pooled socket has received; undefined of another one. */
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
    reading.giveUp() // options that Node refuses, after it has asked for the buffer
    throw error
  }
}

/** What `net.connect` was given in whichever of its ways: options, a port and maybe a host, a path; each with or without a listener. */
function connectArguments(args: unknown[]): { options: object; listener: (() => void) | undefined } {
  const [first, second] = args
  const last = args[args.length - 1]
  const listener = typeof last === 'function' ? (last as () => void) : undefined
  if (typeof first === 'object' && first !== null) return { options: first, listener }
  if (typeof first === 'string' && !(Number(first) >= 0)) return { options: { path: first }, listener }
  return { options: { port: first, ...(typeof second === 'string' ? { host: second } : {}) }, listener }
}

/** Makes a server whose connections read into a pool's buffers, of the arguments of `net.createServer`. */
export function createPooledServer(
  memory: ReadMemory,
  options: ServerOpts | ((socket: Socket) => void) | undefined,
  listener: ((socket: Socket) => void) | undefined
): Server {
  const listen = typeof options === 'function' ? options : listener
  if (listen !== undefined && typeof listen !== 'function') throw wrongType('listener', 'a function', listen)
  // None are as good as `{}` to Node, and which there are it knows better.
  const chosen = typeof options === 'function' ? {} : (options ?? {})
  if (typeof chosen !== 'object') throw wrongType('options', 'an object', chosen)
  return new PooledServer(memory, chosen, listen)
}

/**
 * As Node's, but what it accepts reads into a pool's buffers. Node has `onread` for sockets that a program makes, not for those that a server
 * accepts: so an accepted one is made such as Node makes the others, before anybody has it.
 *
 * Listeners are watched for rejections, as by the option `captureRejections` of an EventEmitter: Node's server then destroys the socket.
 */
class PooledServer extends Server {
  readonly #memory: ReadMemory

  constructor(memory: ReadMemory, options: ServerOpts, listener: ((socket: Socket) => void) | undefined) {
    super(options, listener)
    this.#memory = memory
    EventEmitter.call(this as never, { captureRejections: true })
  }

  override emit(event: string | symbol, ...args: unknown[]): boolean {
    if (event === 'connection') receive(this.#memory, args[0] as AcceptedSocket)
    return (super.emit as (...all: unknown[]) => boolean).call(this, event, ...args)
  }
}

/** A Socket's fields that have no public name. They are the same in Node 20 to 26; test/pool says so. */
interface AcceptedSocket extends Socket {
  readonly _handle?: { useUserBuffer?(buffer: Buffer): void; readStop?(): void } | null
  [field: symbol]: unknown
}

/** The symbols of the fields in which a Socket keeps what the option `onread` asks for. */
const ONREAD_FIELDS = ['kBuffer', 'kBufferCb', 'kBufferGen'] as const

/**
 * An accepted socket, which has read nothing yet, reads into a pool's buffers from now on. One that isn't Node's own, as a program may hand a
 * server by `emit`, stays as it is; `pool.read` copies what that has read.
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
