import type { Buffer } from 'node:buffer'
import { randomInt } from 'node:crypto'
import { clearInterval, setInterval } from 'node:timers'
import { checkInteger, checkOptions, type OptionNames } from '../base/arguments.ts'
import { AllocatorError, closedError, invalidToken } from '../base/errors.ts'
import { makePrintable, staysHere } from '../base/printed.ts'
import { Heap } from '../heap/heap.ts'
import { HOST } from '../lifetime/host.ts'
import { Granule } from '../memory/page.ts'
import { notAHeap } from '../tcmalloc/token.ts'
import { Locks } from '../threads/locks.ts'
import { Seats } from '../threads/seats.ts'

/** What a channel has room for by default, and at most. */
const DEFAULT_CAPACITY = 64
const MOST_CAPACITY = 65_536
/** So often, in milliseconds, who waits looks whether its peers have died. */
const POLL_MS = 50
/**
 * So often a thread looks before it sleeps. One that does nothing else looks for as long as sleeping and waking up would take, 10 µs;
 * one that has other things to do, a part of that.
 */
const SYNC_SPINS = 3000
const ASYNC_SPINS = 500
/** "CHAN", and the version of the words' layout. */
const MAGIC = 0x4348_4102

/** The words of a channel's block. Head, Tail and the cells change under the lock. */
const enum Word {
  Lock = 0,
  Magic = 32,
  Capacity = 33,
  Closed = 34,
  /** Messages received and sent so far. A message is sent when Tail rises, and received when Head does. */
  Head = 35,
  Tail = 36,
  /** Threads that sleep until something is sent, or until there is room; more where one died asleep. */
  Receivers = 37,
  Senders = 38,
  /** Tells the channel from others that were or will be here; written once. */
  Generation = 39,
  /** The tags of threads that have the channel open, or had when they died; 0 in seats that are free. */
  Peers = 64,
  Seats = 240,
  /** A cell for each message: the slot through which its block was passed, and the number of that pass. */
  Cells = 320,
}
const CELL_WORDS = 2

/** Those that wait in a thread to send, or to receive. */
interface Queue {
  /** Is settled when the last one doesn't wait any more: with whether it was told that all others have died. */
  last: Promise<boolean> | undefined
}

/** How a {@link Channel} is made. */
export interface ChannelOptions {
  /**
   * Messages that may wait to be received, at most 65 536. More have to wait to be sent.
   * @default 64
   */
  capacity?: number
}

const CHANNEL_OPTIONS: OptionNames<ChannelOptions> = { capacity: true }

/** Who has a channel open, and who had. */
export interface PeerCounts {
  /** Threads that have it open, the caller's among them. */
  live: number
  /** Threads that died with it open. */
  dead: number
}

/** What another thread attaches to a channel by, beside the heap's token. It survives structured clone. */
export interface ChannelToken {
  /** Where the channel's words are in the heap. */
  readonly channel: number
  /** Tells it from other channels that were or will be there: a random number, the same as another's once in two billion times. */
  readonly generation: number
}

/**
 * A bounded ring of blocks of a heap, for any number of threads that send and receive. A message is a block: nothing is copied.
 * The sender gives it up, as by `heap.pass`; the receiver owns it, and frees it (`heap.freeBuffer`). Messages arrive in
 * the order in which they were sent, each at one receiver.
 *
 * A thread may die at any moment: it blocks no other. Blocks that it had received and not freed are in
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
  readonly #heap: Heap
  readonly #words: Int32Array
  readonly #locks: Locks
  readonly #seats: Seats
  readonly #seat: number
  readonly #address: number
  readonly #capacity: number
  #open = true
  readonly #senders: Queue = { last: undefined }
  readonly #receivers: Queue = { last: undefined }

  static {
    makePrintable(Channel, 'Channel')
  }

  /** @throws AllocatorError `ERR_HEAP_NOT_SHARED` as of `heap.share`, `ERR_HEAP_OUT_OF_MEMORY` */
  constructor(heap: Heap, options?: ChannelOptions)
  /** @internal */
  constructor(heap: Heap, options: ChannelOptions, token: ChannelToken)
  constructor(heap: Heap, options: ChannelOptions = {}, token?: ChannelToken) {
    checkOptions(options, CHANNEL_OPTIONS)
    const capacity = checkInteger('capacity', options.capacity, 1, MOST_CAPACITY, DEFAULT_CAPACITY)
    if (!(heap instanceof Heap)) throw notAHeap(heap)
    heap.share() // only what can be shared has anyone to talk to
    this.#heap = heap
    this.#address = token?.channel ?? heap.calloc(Word.Cells + capacity * CELL_WORDS, 4)
    const head = new Int32Array(heap.buffer, this.#address, Word.Cells)
    const { slots, tag } = heap[HOST].thread()
    this.#seats = new Seats(head, Word.Peers, Word.Seats, slots)
    if (token === undefined) {
      head[Word.Capacity] = capacity
      head[Word.Generation] = randomInt(1, 2 ** 31)
      heap[HOST].setPooled(this.#address, true)
      // Before it is a channel to others: who has a token of one that was here would join, and close it as the last one.
      this.#seat = this.#seats.take(tag)
      Atomics.store(head, Word.Magic, MAGIC)
    } else this.#seat = this.join(tag, token)
    this.#capacity = head[Word.Capacity]!
    this.#words = new Int32Array(heap.buffer, this.#address, Word.Cells + this.#capacity * CELL_WORDS)
    // Nothing needs a mend: a message is in the channel or not by one store.
    this.#locks = new Locks(this.#words, Word.Lock, slots, tag, { mend: () => {}, check: () => {} })
  }

  /** Opens a channel of another thread in this one. @throws AllocatorError `ERR_HEAP_INVALID_TOKEN`, `ERR_HEAP_TOO_MANY_WORKERS` */
  static attach(heap: Heap, token: ChannelToken): Channel {
    const { channel, generation } = (token ?? {}) as Partial<ChannelToken>
    if (!(heap instanceof Heap)) throw notAHeap(heap)
    if (typeof channel !== 'number' || typeof generation !== 'number') throw invalidToken('it is no channel’s')
    if (!heap[HOST].isOpen) throw closedError()
    const checked = { channel, generation }
    if (!isChannel(heap, checked)) throw invalidToken('no channel is there')
    return new Channel(heap, {}, checked)
  }

  /** A token by which other threads attach, which have the heap open. */
  share(): ChannelToken {
    this.checkOpen()
    return { channel: this.#address, generation: this.#words[Word.Generation]! }
  }

  /** Messages that wait to be received. */
  get length(): number {
    return (Atomics.load(this.#words, Word.Tail) - Atomics.load(this.#words, Word.Head)) | 0
  }

  /** Threads that have the channel open, this one among them, and threads that died with it open. */
  peers(): PeerCounts {
    return this.#seats.count()
  }

  /**
   * Sends the block that a view starts with, and with it the view's length. The sender gives it up, as by `heap.pass`.
   * False, and nothing is sent, where there is no room.
   * @throws AllocatorError `ERR_CHANNEL_CLOSED`; `ERR_HEAP_INVALID_ADDRESS` where no live block of the heap starts there, or one that only a
   * pool, an arena or a table may free, and so nobody who receives it
   */
  trySend(view: ArrayBufferView): boolean {
    const words = this.#words
    const locks = this.#locks
    const heap = this.#heap
    const granule = heap[HOST].passableGranule(view)
    const { byteLength } = view
    this.checkOpen()
    const { buffers } = heap[HOST]
    const { passes } = buffers
    passes.ready()
    const watchedAs = buffers.watchedAs(granule)
    locks.acquire(0)
    const tail = words[Word.Tail]!
    const closed = words[Word.Closed] === 1
    const room = !closed && ((tail - words[Word.Head]!) | 0) < this.#capacity
    const cell = this.cellOf(tail)
    const { slot, sequence } = passes
    // Nothing strikes behind `pass`: the block is passed if, and only if, the channel has it.
    const isSent = room && passes.pass(granule, byteLength)
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
    this.wake(Word.Tail, Word.Receivers)
    return true
  }

  /**
   * Sends, once there is room.
   * @throws AllocatorError `ERR_CHANNEL_CLOSED`, `ERR_CHANNEL_PEERS_DIED` where there is none and nobody who will make any
   */
  async send(view: ArrayBufferView): Promise<void> {
    await this.inTurn(this.#senders, Word.Head, Word.Senders, () => this.trySend(view))
  }

  /** The same for a thread that does nothing else meanwhile. */
  sendSync(view: ArrayBufferView): void {
    for (;;) {
      const head = Atomics.load(this.#words, Word.Head)
      if (this.trySend(view)) return
      this.sleepSync(Word.Head, Word.Senders, head)
    }
  }

  /** The message that has waited longest, as a Buffer over its block, which is the caller's now; undefined where there is none. */
  tryReceive(): Buffer | undefined {
    const words = this.#words
    const locks = this.#locks
    const heap = this.#heap
    this.checkOpen()
    const { buffers } = heap[HOST]
    const { passes } = buffers
    while (this.length !== 0) {
      locks.acquire(0)
      const head = words[Word.Head]!
      if (head === words[Word.Tail]) {
        locks.release(0)
        return undefined
      }
      const cell = this.cellOf(head)
      const slot = words[cell]!
      const sequence = words[cell + 1]!
      const granule = passes.granuleOf(slot, sequence)
      const length = passes.lengthOf(slot)
      const wasWatched = passes.wasWatched(slot)
      // Nothing strikes behind `adopt`: the block is this thread's if, and only if, the channel has it no more.
      const isOurs = granule !== 0 && passes.adopt(slot, sequence, granule)
      words[Word.Head] = (head + 1) | 0
      locks.release(0)
      this.wake(Word.Head, Word.Senders)
      // Whatever has scribbled over a cell, what it says isn't believed: then there is no message in it.
      if (isOurs) return buffers.received(buffers.viewOf(granule, length), granule, wasWatched)
    }
    return undefined
  }

  /**
   * Receives, once there is a message; undefined when the channel was closed and all messages are received.
   * @throws AllocatorError `ERR_CHANNEL_PEERS_DIED` where there is none and nobody who will send any
   */
  async receive(): Promise<Buffer | undefined> {
    let message: Buffer | undefined
    await this.inTurn(this.#receivers, Word.Tail, Word.Receivers, () => {
      message = this.tryReceive()
      return message !== undefined || this.isOver()
    })
    return message
  }

  /** The same for a thread that does nothing else meanwhile. */
  receiveSync(): Buffer | undefined {
    for (;;) {
      const tail = Atomics.load(this.#words, Word.Tail)
      const message = this.tryReceive()
      if (message !== undefined || this.isOver()) return message
      this.sleepSync(Word.Tail, Word.Receivers, tail)
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

  /** What `JSON.stringify`, loggers and `console.log` show. */
  toJSON(): object {
    const isOpen = this.isHere
    return { isOpen, capacity: this.#capacity, length: isOpen ? this.length : 0 }
  }

  /** Nobody may send any more; what was sent can still be received, everywhere. May be called again. */
  end(): void {
    if (!this.#open) return
    Atomics.store(this.#words, Word.Closed, 1)
    Atomics.notify(this.#words, Word.Tail)
    Atomics.notify(this.#words, Word.Head)
  }

  /** This thread is done with the channel. The last one frees what nobody has received, and the channel. May be called again. */
  close(): void {
    if (!this.#open) return
    this.#open = false
    const words = this.#words
    const heap = this.#heap
    // A heap that is closed here: this thread's seat is a dead one's, and its memory is what others make of it.
    if (!heap[HOST].isOpen) return
    const isLast = heap[HOST].exclusively(() => {
      Atomics.store(words, this.#seat, 0)
      if (this.peers().live > 0) return false
      Atomics.store(words, Word.Magic, 0)
      return true
    })
    if (!isLast) return
    const { passes } = heap[HOST].buffers
    for (let at = words[Word.Head]!; at !== words[Word.Tail]; at = (at + 1) | 0) {
      const cell = this.cellOf(at)
      const slot = words[cell]!
      const sequence = words[cell + 1]!
      const granule = passes.granuleOf(slot, sequence)
      if (granule !== 0 && passes.adopt(slot, sequence, granule)) heap[HOST].discard(granule * Granule.Bytes)
    }
    heap[HOST].setPooled(this.#address, false)
    heap[HOST].discard(this.#address)
  }

  /** `close`, for `using`. */
  [Symbol.dispose](): void {
    this.close()
  }

  /**
   * Takes a seat, which keeps the words where they are. The last thread may leave, and free them, while this one is on its way: so nobody
   * joins while another leaves. Their own lock can't see to that, since it lies in what is freed.
   */
  private join(tag: number, token: ChannelToken): number {
    const heap = this.#heap
    const seat = heap[HOST].exclusively(() => (isChannel(heap, token) ? this.#seats.take(tag) : undefined))
    if (seat === undefined) throw invalidToken('no channel is there')
    if (seat === 0)
      throw new AllocatorError('ERR_HEAP_TOO_MANY_WORKERS', `a channel serves ${Word.Seats} threads at most`)
    return seat
  }

  private cellOf(index: number): number {
    return Word.Cells + ((index >>> 0) % this.#capacity) * CELL_WORDS
  }

  /**
   * Tries until it is done. Of those that wait in this thread only the one that came first tries and sleeps, however many there are; the others
   * wait for the one before.
   */
  private async inTurn(queue: Queue, word: Word, sleepers: Word, attempt: () => boolean): Promise<void> {
    const { last } = queue
    let tell!: (haveDied: boolean) => void
    const own = new Promise<boolean>((resolve) => {
      tell = resolve
    })
    queue.last = own
    // What those before have found out needn't be waited for again.
    let haveDied = last !== undefined && (await last)
    try {
      for (;;) {
        const value = Atomics.load(this.#words, word)
        if (attempt()) return
        if (haveDied) this.checkPeers()
        haveDied = true
        await this.sleep(word, sleepers, value)
        haveDied = false
      }
    } finally {
      if (queue.last === own) queue.last = undefined
      tell(haveDied)
    }
  }

  private isOver(): boolean {
    return Atomics.load(this.#words, Word.Closed) === 1 && this.length === 0
  }

  private wake(word: Word, sleepers: Word): void {
    if (Atomics.load(this.#words, sleepers) !== 0) Atomics.notify(this.#words, word, 1)
  }

  /** Looks a few times whether `word` is another than `value`: going to sleep and waking up takes longer. */
  private spin(word: Word, value: number, most: number): boolean {
    for (let spins = 0; spins < most; spins++) if (Atomics.load(this.#words, word) !== value) return true
    return false
  }

  /** Until `word` isn't `value` any more, or for a while. */
  private async sleep(word: Word, sleepers: Word, value: number): Promise<void> {
    if (this.spin(word, value, ASYNC_SPINS)) return
    // A wait alone doesn't keep a thread running.
    const alive = setInterval(() => {}, 2 ** 30)
    Atomics.add(this.#words, sleepers, 1)
    try {
      const wait = Atomics.waitAsync(this.#words, word, value, POLL_MS)
      if (wait.async && (await wait.value) === 'timed-out' && this.isHere) this.checkPeers()
    } finally {
      // Closed meanwhile: the words may be another's by now.
      if (this.isHere) Atomics.sub(this.#words, sleepers, 1)
      clearInterval(alive)
    }
  }

  private sleepSync(word: Word, sleepers: Word, value: number): void {
    if (this.spin(word, value, SYNC_SPINS)) return
    Atomics.add(this.#words, sleepers, 1)
    const woken = Atomics.wait(this.#words, word, value, POLL_MS)
    Atomics.sub(this.#words, sleepers, 1)
    if (woken === 'timed-out') this.checkPeers()
  }

  /** Whoever is alone where others have died waits for nobody. Before any has come, it does. */
  private checkPeers(): void {
    const { live, dead } = this.peers()
    if (live <= 1 && dead > 0)
      throw new AllocatorError('ERR_CHANNEL_PEERS_DIED', `all ${dead} other threads of the channel have died`)
  }

  private checkOpen(): void {
    if (!this.#open) throw channelClosed()
    if (!this.#heap[HOST].isOpen) throw closedError()
  }

  /** Whether this thread keeps the words where they are. */
  private get isHere(): boolean {
    return this.#open && this.#heap[HOST].isOpen
  }
}

/** Whether a token's channel is still where it was. */
function isChannel(heap: Heap, { channel, generation }: ChannelToken): boolean {
  try {
    if (!heap[HOST].isPooled(channel) || heap.usableSize(channel) < Word.Cells * 4) return false
  } catch {
    return false // freed between the two
  }
  const words = new Int32Array(heap.buffer, channel, Word.Cells)
  return Atomics.load(words, Word.Magic) === MAGIC && words[Word.Generation] === generation
}

function channelClosed(): AllocatorError {
  return new AllocatorError('ERR_CHANNEL_CLOSED', 'the channel is closed')
}
