import { Buffer } from 'node:buffer'
import {
  type ConnectOpts,
  connect,
  createServer,
  type NetConnectOpts,
  type Server,
  type ServerOpts,
  Socket,
} from 'node:net'
import { AllocatorError } from '../errors.ts'
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
  readonly heap: { beginOperation(): () => void }
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
    socket.once('end', () => this.end())
    socket.once('error', (error) => this.end(error))
    socket.once('close', () => {
      this.end()
      this.giveUp()
    })
  }

  /** The handle is closed, or there never was one: nothing reads any more. */
  giveUp(): void {
    this.next?.giveBack()
    this.next = undefined
    if (this.readers === 0) this.copyQueue()
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

  /** One reads no more. After the last, what was received goes back. */
  drop(): void {
    if (--this.readers > 0) return
    for (const { lent } of this.queue.splice(0)) lent?.giveBack()
  }

  /** A lease for what comes next; undefined where the pool has none left, or no memory, or is closed. */
  private leaseNext(): Lent | undefined {
    try {
      const lease = this.memory.tryLease()
      if (lease === undefined) return undefined
      const end = this.memory.heap.beginOperation()
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

  /** Nobody has read what a socket received that is closed, and maybe nobody will: it may not keep buffers of the pool. */
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

/** A connection that reads into a pool's buffers. */
export function connectPooled(memory: ReadMemory, options: NetConnectOpts): Socket {
  const reading = new Reading(memory)
  try {
    const socket = connect({ ...options, onread: reading.onread } as NetConnectOpts & ConnectOpts)
    reading.follow(socket)
    return socket
  } catch (error) {
    reading.giveUp() // options that Node refuses, after it has asked for the buffer
    throw error
  }
}

/**
 * A server whose connections read into a pool's buffers. Node has `onread` for sockets that a program makes, not for those that a server
 * accepts: so an accepted one, which has read nothing yet, gives its handle to one that is made.
 */
export function createPooledServer(
  memory: ReadMemory,
  options: ServerOpts,
  listener: (socket: Socket) => void
): Server {
  return createServer({ ...options, pauseOnConnect: true }, (accepted) => {
    const reading = new Reading(memory)
    const socket = takeOver(accepted, reading, options)
    reading.follow(socket)
    listener(socket)
  })
}

/** Fields of Node's sockets that have no public name. They are the same in Node 20 to 26; test/pool says so. */
interface HandleOwner {
  _handle: object | null
  _server: object | null
  server: object | null
}

function takeOver(accepted: Socket, { onread }: Reading, options: ServerOpts): Socket {
  const from = accepted as unknown as HandleOwner
  const { _handle: handle, _server: server } = from
  const { allowHalfOpen = false } = options
  const socket = new Socket({ handle, allowHalfOpen, onread, readable: true, writable: true } as ConstructorParameters<
    typeof Socket
  >[0])
  const to = socket as unknown as HandleOwner
  // The server counts its connections by the field: so the count goes with the handle.
  to._server = server
  to.server = server
  from._handle = null
  from._server = null
  accepted.destroy()
  return socket
}
