import type { Buffer } from 'node:buffer'
import { checkInteger, checkOptions, type OptionNames } from '../base/arguments.ts'
import { AllocatorError, closedError } from '../base/errors.ts'
import { makePrintable, staysHere } from '../base/printed.ts'
import { Heap } from '../heap/heap.ts'
import { type AttachToOptions, attachTo, type HeapHost, HOST } from '../lifetime/host.ts'
import { type HeapToken, notAHeap } from '../tcmalloc/token.ts'
import type { Locks } from '../threads/locks.ts'
import { blockKind, SharedBlock } from '../threads/shared-block.ts'
import { Waiters } from '../threads/waiters.ts'
import { WakeWord } from '../threads/wake-word.ts'

/** A channel's default and greatest capacity. */
const DEFAULT_CAPACITY = 64
const MOST_CAPACITY = 65_536
const KIND = blockKind({ magic: 0x4348_4103, name: 'channel', isLocked: true, end: freeMessages })

/** A channel's words among those of its block. Head, Tail and the cells change under the lock. */
const enum Word {
  Capacity = 34,
  Closed = 35,
  /** Messages received and sent so far. A message is sent when Tail rises, and received when Head does. */
  Head = 36,
  Tail = 37,
  /** Threads that sleep until something is sent, or until there is room. The count includes threads that died asleep. */
  Receivers = 38,
  Senders = 39,
  /** A cell for each message: the slot through which its block was passed, and the number of that pass. */
  Cells = 320,
}
const CELL_WORDS = 2

/** Options of a {@link Channel}. */
export interface ChannelOptions {
  /**
   * Messages that may wait to be received, at most 65 536. At that number, senders wait.
   * @default 64
   */
  capacity?: number
}

const CHANNEL_OPTIONS: OptionNames<ChannelOptions> = { capacity: true }

/** How many threads have a channel open, and how many died with it open. */
export interface PeerCounts {
  /** Threads that have it open, the caller's among them. */
  live: number
  /** Threads that died with it open. */
  dead: number
}

/** A token by which another thread attaches to a channel. It survives structured clone. */
export interface ChannelToken {
  /** Where the channel's words are in the heap. */
  readonly channel: number
  /** Tells it from other channels, earlier or later, at that address: a random number, the same as another's once in two billion times. */
  readonly generation: number
  /** The heap that the channel is in. */
  readonly heap: HeapToken
}

/**
 * A bounded ring of blocks of a heap, for any number of threads that send and receive. A message is a block: nothing is copied.
 * The sender gives it up, as by `heap.pass`; the receiver owns it, and frees it (`heap.freeBuffer`). Messages arrive in
 * the order in which they were sent, each at one receiver.
 *
 * A thread may die at any moment without blocking another. Blocks that it had received and not freed are in
 * `heap.stats().deadThreadsBytes`; those that wait in the channel are in `passedBytes`, and belong to no thread until they are received.
 * @example
 * ```ts
 * import { Channel, Heap } from 'spanheap'
 *
 * using heap = new Heap()
 * using channel = new Channel(heap, { capacity: 16 }) // channel.share() is for other threads
 * await channel.send(heap.allocBuffer(1000).fill(7))
 * channel.end()
 * for await (const buffer of channel) {
 *   console.log(buffer[0]) // 7
 *   heap.freeBuffer(buffer)
 * }
 * ```
 */
export class Channel implements Disposable {
  /** @internal */ readonly notCloneable = staysHere(
    'a Channel',
    ': use share(), and Channel.attach() in the other one'
  )
  readonly #host: HeapHost
  readonly #block: SharedBlock
  readonly #words: Int32Array
  readonly #locks: Locks
  readonly #capacity: number
  #open = true
  /** Whether `attach` has opened the heap: then the heap is closed with the channel. */
  #ownsHeap = false
  /** The words on which threads sleep that wait for a message, and for room. */
  readonly #sent: WakeWord
  readonly #received: WakeWord
  /** Resolved with `true` when the message is sent; receivers with null when there is nothing more to receive. */
  readonly #senders = new Waiters<true>()
  readonly #receivers = new Waiters<Buffer | null>()

  static {
    makePrintable(Channel, 'Channel')
  }

  /** @throws AllocatorError `ERR_HEAP_NOT_SHARED` as of `heap.share`, `ERR_HEAP_OUT_OF_MEMORY` */
  constructor(heap: Heap, options?: ChannelOptions)
  /** @internal */
  constructor(heap: Heap, options: ChannelOptions, token: Partial<ChannelToken>)
  constructor(heap: Heap, options: ChannelOptions = {}, token?: Partial<ChannelToken>) {
    checkOptions(options, CHANNEL_OPTIONS)
    const capacity = checkInteger('capacity', options.capacity, 1, MOST_CAPACITY, DEFAULT_CAPACITY)
    if (!(heap instanceof Heap)) throw notAHeap(heap)
    heap.share() // only a heap that can be shared has another thread to talk to
    const host = heap[HOST]
    this.#host = host
    this.#block =
      token === undefined
        ? SharedBlock.create(host, KIND, Word.Cells + capacity * CELL_WORDS, (words) => {
            words[Word.Capacity] = capacity
          })
        : SharedBlock.find(host, KIND, token.channel, token.generation)
    const { words, locks } = this.#block
    this.#words = words
    this.#locks = locks
    this.#sent = new WakeWord(this.#block, Word.Tail, Word.Receivers)
    this.#received = new WakeWord(this.#block, Word.Head, Word.Senders)
    this.#capacity = words[Word.Capacity]!
    if (token !== undefined) this.#block.join()
  }

  /**
   * Opens a channel of another thread in this one.
   * @throws AllocatorError `ERR_HEAP_INVALID_TOKEN`, `ERR_HEAP_TOO_MANY_WORKERS`
   */
  static attach(token: ChannelToken, options: AttachToOptions = {}): Channel {
    return attachTo(token, options, (host, ownsHeap) => {
      const channel = new Channel(host.heap as Heap, {}, token)
      channel.#ownsHeap = ownsHeap
      return channel
    })
  }

  /** The heap whose blocks it sends. */
  get heap(): Heap {
    return this.#host.heap as Heap
  }

  /** A token by which other threads attach. */
  share(): ChannelToken {
    this.checkOpen()
    return { channel: this.#block.address, generation: this.#block.generation, heap: this.heap.share() }
  }

  /** Messages that wait to be received. */
  get length(): number {
    const length = (Atomics.load(this.#words, Word.Tail) - Atomics.load(this.#words, Word.Head)) | 0
    // The words may have been scribbled over, so they aren't trusted either.
    return length > 0 && length <= this.#capacity ? length : 0
  }

  /** Threads that have the channel open, this one among them, and threads that died with it open. */
  peers(): PeerCounts {
    return this.#block.seats.count()
  }

  /**
   * Sends the block that a view starts with, together with the view's length. The sender gives it up, as by `heap.pass`. Returns false, and
   * sends nothing, if there is no room.
   * @throws AllocatorError `ERR_CHANNEL_CLOSED`; `ERR_HEAP_INVALID_ADDRESS` if no live block of the heap starts there, or only a pool, an
   * arena or a table may free it, so that no receiver could; RangeError `ERR_OUT_OF_RANGE` if the view is longer than its block, or its
   * `byteLength` isn't its real length
   */
  trySend(view: ArrayBufferView): boolean {
    const words = this.#words
    const locks = this.#locks
    const { granule, length } = this.#host.passable(view)
    this.checkOpen()
    const { buffers } = this.#host
    const { passes } = buffers
    passes.ready()
    const watchedAs = buffers.watchedAs(granule)
    locks.acquire(0)
    const tail = words[Word.Tail]!
    const closed = words[Word.Closed] === 1
    const room = !closed && ((tail - words[Word.Head]!) | 0) < this.#capacity
    const cell = this.cellOf(tail)
    const { slot, sequence } = passes
    // This thread can't be struck after `pass`: the block is passed if, and only if, the channel has it.
    const isSent = room && passes.pass(granule, length)
    if (isSent) {
      words[cell] = slot
      words[cell + 1] = sequence
      words[Word.Tail] = (tail + 1) | 0
    }
    locks.release(0)
    if (closed) throw channelClosed()
    if (!room) return false
    // Another thread has freed it meanwhile.
    if (!isSent) throw buffers.notLive(granule)
    buffers.gaveUp(view, granule, watchedAs)
    this.#sent.wake()
    return true
  }

  /**
   * Sends, once there is room.
   * @throws AllocatorError `ERR_CHANNEL_CLOSED`, `ERR_CHANNEL_PEERS_DIED` if there is none and no live thread that could make any
   */
  async send(view: ArrayBufferView): Promise<void> {
    const closed = () => (Atomics.load(this.#words, Word.Closed) === 1 ? channelClosed() : undefined)
    await this.inTurn(this.#senders, this.#received, () => this.trySend(view) || undefined, closed)
  }

  /** The same for a thread that does nothing else meanwhile. */
  sendSync(view: ArrayBufferView): void {
    for (;;) {
      const { value } = this.#received
      if (this.trySend(view)) return
      if (!this.#received.sleepSync(value)) this.checkPeers()
    }
  }

  /** The message that has waited longest, as a Buffer over its block, which the caller then owns; undefined if there is none. */
  tryReceive(): Buffer | undefined {
    const words = this.#words
    const locks = this.#locks
    this.checkOpen()
    const { buffers } = this.#host
    const { passes } = buffers
    while (this.length !== 0) {
      locks.acquire(0)
      const head = words[Word.Head]!
      if (this.length === 0) {
        locks.release(0)
        return undefined
      }
      const cell = this.cellOf(head)
      const slot = words[cell]!
      const sequence = words[cell + 1]!
      const granule = passes.granuleOf(slot, sequence)
      const length = passes.lengthOf(slot)
      const wasWatched = passes.wasWatched(slot)
      // This thread can't be struck after `adopt`: the block is this thread's if, and only if, the channel no longer has it.
      const isOurs = granule !== 0 && passes.adopt(slot, sequence, granule)
      words[Word.Head] = (head + 1) | 0
      locks.release(0)
      this.#received.wake()
      // A cell may have been scribbled over, so its contents aren't trusted: then there is no message in it.
      if (isOurs) return buffers.received(buffers.viewOf(granule, length), granule, wasWatched)
    }
    return undefined
  }

  /**
   * Receives, once there is a message; undefined when the channel was closed and all messages are received.
   * @throws AllocatorError `ERR_CHANNEL_PEERS_DIED` if there is none and no live thread that could send any
   */
  async receive(): Promise<Buffer | undefined> {
    const attempt = () => this.tryReceive() ?? (this.isOver() ? null : undefined)
    return (await this.inTurn(this.#receivers, this.#sent, attempt)) ?? undefined
  }

  /** The same for a thread that does nothing else meanwhile. */
  receiveSync(): Buffer | undefined {
    for (;;) {
      const { value } = this.#sent
      const message = this.tryReceive()
      if (message !== undefined || this.isOver()) return message
      if (!this.#sent.sleepSync(value)) this.checkPeers()
    }
  }

  /** Messages, until the channel is closed. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer, void, undefined> {
    for (;;) {
      const message = this.tryReceive() ?? (await this.receive())
      if (message === undefined) return
      yield message
    }
  }

  /** The summary that `JSON.stringify`, loggers and `console.log` show. */
  toJSON(): object {
    const isOpen = this.#block.isJoined
    return { isOpen, capacity: this.#capacity, length: isOpen ? this.length : 0 }
  }

  /** Ends sending for all threads. Messages already sent can still be received, everywhere. May be called again. */
  end(): void {
    if (!this.#open) return
    Atomics.store(this.#words, Word.Closed, 1)
    this.#sent.wakeAll()
    this.#received.wakeAll()
  }

  /** This thread is done with the channel. The last thread to close it frees the unreceived messages and the channel. May be called again. */
  close(): void {
    this.#open = false
    for (const waiters of [this.#senders, this.#receivers]) waiters.end(channelClosed())
    this.#block.leave()
    if (this.#ownsHeap) this.heap.close()
  }

  /** `close`, for `using`. */
  [Symbol.dispose](): void {
    this.close()
  }

  private cellOf(index: number): number {
    return Word.Cells + ((index >>> 0) % this.#capacity) * CELL_WORDS
  }

  /** The result of `attempt`, once it has one and all earlier waiters have theirs. */
  private inTurn<T>(
    waiters: Waiters<T>,
    word: WakeWord,
    attempt: () => T | undefined,
    closed: () => Error | undefined = () => undefined
  ): Promise<T> | T {
    const found = waiters.length === 0 ? attempt() : undefined
    if (found !== undefined) return found
    const waiting = waiters.wait(attempt)
    void waiters.watch(word, (isIdle) =>
      this.#host.isOpen ? (closed() ?? (isIdle ? this.lonely() : undefined)) : closedError()
    )
    return waiting
  }

  private isOver(): boolean {
    return Atomics.load(this.#words, Word.Closed) === 1 && this.length === 0
  }

  private checkPeers(): void {
    const error = this.lonely()
    if (error !== undefined) throw error
  }

  /** The error for a waiting thread whose peers have all died. Before any thread has joined, one still may: then there is no error. */
  private lonely(): AllocatorError | undefined {
    const { live, dead } = this.peers()
    if (live > 1 || dead === 0) return undefined
    return new AllocatorError('ERR_CHANNEL_PEERS_DIED', `all ${dead} other threads of the channel have died`)
  }

  private checkOpen(): void {
    if (!this.#open) throw channelClosed()
    if (!this.#host.isOpen) throw closedError()
  }
}

/** Frees the unreceived messages: those of all cells whose block is still passed. */
function freeMessages({ words }: SharedBlock, { buffers: { passes }, tiers }: HeapHost): void {
  const { hand } = tiers
  hand.clear()
  const most = Math.floor((words.length - Word.Cells) / CELL_WORDS)
  for (let at = 0; at < Math.min(words[Word.Capacity]!, most); at++) {
    const cell = Word.Cells + at * CELL_WORDS
    const slot = words[cell]!
    const sequence = words[cell + 1]!
    const granule = passes.granuleOf(slot, sequence)
    if (granule !== 0 && passes.adopt(slot, sequence, granule, true)) hand.empty()
  }
}

function channelClosed(): AllocatorError {
  return new AllocatorError('ERR_CHANNEL_CLOSED', 'the channel is closed')
}
