import { isDeepStrictEqual } from 'node:util'
import { type Allocator, Heap } from '../../lib/index.ts'
import { HOST } from '../../lib/lifetime/host.ts'
import { ROSTER } from '../../lib/pool/pool-slots.ts'
import { SharedWord } from '../../lib/threads/shared-block.ts'
import type { Refuser } from './refuser.ts'

/** What somebody owns, filled with a byte of its own. */
interface Owned {
  readonly bytes: Buffer
  readonly stamp: number
}

/**
 * A heap of which something is refused, and what a program has of it. Each call is made once, and once more if it was refused: then all is as it
 * was before.
 */
export class World<H extends Allocator = Allocator> {
  readonly heap: H
  readonly refuser: Refuser
  private readonly owned = new Map<unknown, Owned>()
  private readonly observers: (() => unknown)[] = []
  private readonly ballast: number[] = []
  private stamps = 0
  /** Whether what is live in the heap is the same after a refusal. */
  keepsLive = true
  /** What the program does after a refusal, before it makes the call again. */
  meanwhile: () => void = () => {}
  /** Whether the heap is closed at the end: a simulated system takes a second for that. */
  closes = false
  /** Bytes that stay live when all was given back. */
  keptBytes = 0
  /** Calls that were refused. */
  refusals = 0

  constructor(heap: H, refuser: Refuser) {
    this.heap = heap
    this.refuser = refuser
    this.observe(() => this.keepsLive && this.liveBytes)
    refuser.stand(heap)
  }

  /** What the program has of the heap, beside what fills it, and the rosters of pools: one that has grown stays so, though the buffer was refused. */
  private get liveBytes(): number {
    const shared = this.heap instanceof Heap ? [...this.heap[HOST].shared.open] : []
    const rosters = shared.filter(({ words }) => words[SharedWord.Kind] === ROSTER.magic)
    const others = [...this.ballast, ...rosters.map(({ address }) => address)]
    return this.heap.stats().liveBytes - others.reduce((sum, address) => sum + this.heap.usableSize(address), 0)
  }

  /** Fills the heap, but for so many blocks of 64 KiB. */
  fill(free: number): void {
    const kept = Array.from({ length: free }, () => this.heap.malloc(65_536))
    for (const size of [65_536, 8192, 1024, 64]) {
      try {
        for (;;) this.ballast.push(this.heap.malloc(size))
      } catch (error) {
        if (!this.refuser.hasCaused(error)) throw error
      }
    }
    for (const address of kept) this.heap.free(address)
  }

  /** What must be the same after a refusal. */
  observe(what: () => unknown): void {
    this.observers.push(what)
  }

  /** Makes a call, and makes it again if it was refused. */
  do<T>(call: () => T): T {
    for (;;) {
      const before = this.look()
      this.refuser.hasRefused = false
      try {
        const result = call()
        this.checkStamps()
        return result
      } catch (error) {
        this.refused(error, before)
      }
    }
  }

  /** The same of one that settles later. */
  async doAsync<T>(call: () => Promise<T>): Promise<T> {
    for (;;) {
      const before = this.look()
      this.refuser.hasRefused = false
      try {
        return await call()
      } catch (error) {
        this.refused(error, before)
      }
    }
  }

  /** The program owns a view from now on. */
  own<V extends ArrayBufferView>(view: V, key: unknown = view): V {
    const bytes = Buffer.from(view.buffer, view.byteOffset, view.byteLength)
    const stamp = (this.stamps++ % 255) + 1
    bytes.fill(stamp)
    this.owned.set(key, { bytes, stamp })
    return view
  }

  /** It gives up what it owns by a call. */
  give<K, T>(key: K, call: (key: K) => T): T {
    this.disown(key)
    return this.do(() => call(key))
  }

  /** It doesn't own it any more. */
  disown<K>(key: K): K {
    this.checkStamps()
    if (!this.owned.delete(key)) throw new Error('it owns nothing of this')
    return key
  }

  /** Everything was given back: nothing is left in the heap, and it goes on. */
  finish(): void {
    for (const address of this.ballast.splice(0)) this.heap.free(address)
    if (this.owned.size > 0) throw new Error(`${this.owned.size} are still owned`)
    const { liveBytes } = this.heap.stats()
    if (liveBytes !== this.keptBytes) throw new Error(`${liveBytes} bytes are live that nobody has`)
    this.heap.audit()
    if (this.closes) this.heap.close()
  }

  private look(): unknown[] {
    return this.observers.map((observe) => observe())
  }

  private refused(error: unknown, before: unknown[]): void {
    if (!this.refuser.hasCaused(error)) throw error
    this.refusals++
    if (this.refuser.kind === 'limit') {
      const address = this.ballast.pop()
      if (address === undefined) throw error
      const bytes = this.heap.usableSize(address)
      this.heap.free(address)
      if (bytes === 0) throw error
    } else if (!this.refuser.hasRefused) throw error
    const after = this.look()
    if (!isDeepStrictEqual(before, after))
      throw new Error(`after a refusal ${JSON.stringify(after)}, before it ${JSON.stringify(before)}`, { cause: error })
    this.meanwhile()
    this.checkStamps()
    this.heap.audit()
  }

  private checkStamps(): void {
    for (const { bytes, stamp } of this.owned.values()) {
      // Who else has it has filled it, or cleared it, all of it or from its start on.
      const wrong = [0, 8, bytes.length >> 1, bytes.length - 1].map((i) => bytes[i]).find((byte) => byte !== stamp)
      if (wrong !== undefined) throw new Error(`what is filled with ${stamp} has a ${wrong}: it has two owners`)
    }
  }
}
