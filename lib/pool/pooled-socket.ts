import {
  type ConnectOpts,
  connect,
  createServer,
  type NetConnectOpts,
  type Server,
  type ServerOpts,
  Socket,
} from 'node:net'
import type { Lease } from './lease.ts'

/** Chunks that wait to be read before a socket is paused. */
const MOST_WAITING = 4

/** A part of a lease's buffer, or of an ordinary one where the pool had none left. */
export interface Received {
  bytes: Buffer
  lease: Lease | undefined
}

/** What gives a socket the memory that it reads into. */
export interface ReadMemory {
  readonly size: number
  /** A lease, if there is one. */
  tryLease(): Lease | undefined
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
  private next: Lease | undefined
  /** Where the pool has no buffer left, a socket reads into an ordinary one. */
  private spare: Buffer | undefined
  private isOver = false
  private failure: Error | undefined
  private wake: (() => void) | undefined

  constructor(memory: ReadMemory) {
    this.memory = memory
  }

  /** The options of the socket. */
  readonly onread = {
    buffer: (): Buffer => {
      this.next = this.memory.tryLease()
      this.spare = this.next === undefined ? Buffer.allocUnsafeSlow(this.memory.size) : undefined
      return this.next?.buffer ?? this.spare!
    },
    // The buffer that was read into; Node asks for another one when this is done.
    callback: (length: number): boolean => {
      const lease = this.next
      this.next = undefined
      const bytes = lease === undefined ? this.spare!.subarray(0, length) : this.memory.first(lease, length)
      this.queue.push({ bytes, lease })
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
      // The handle is closed: nothing reads into it any more.
      this.next?.release()
      this.next = undefined
    })
  }

  /** The next chunk; undefined at the end. Rejects with the socket's error. */
  async take(): Promise<Received | undefined> {
    while (this.queue.length === 0) {
      if (this.failure !== undefined) throw this.failure
      if (this.isOver) return undefined
      this.socket!.resume()
      await new Promise<void>((resolve) => {
        this.wake = resolve
      })
    }
    return this.queue.shift()
  }

  /** Nobody reads any more: what was received goes back. */
  drop(): void {
    for (const { lease } of this.queue.splice(0)) lease?.release()
  }

  private end(error?: Error): void {
    this.isOver = true
    this.failure ??= error
    this.tell()
  }

  private tell(): void {
    this.wake?.()
    this.wake = undefined
  }
}

/** What a pooled socket has received; undefined of another one. */
export function readingOf(socket: unknown): Reading | undefined {
  return socket instanceof Socket ? received.get(socket) : undefined
}

/** A connection that reads into a pool's buffers. */
export function connectPooled(memory: ReadMemory, options: NetConnectOpts): Socket {
  const reading = new Reading(memory)
  const socket = connect({ ...options, onread: reading.onread } as NetConnectOpts & ConnectOpts)
  reading.follow(socket)
  return socket
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
