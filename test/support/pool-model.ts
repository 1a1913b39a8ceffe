import { type BufferPool, Heap, type Lease, BufferPool as Pool } from '../../lib/index.ts'
import { countsOf } from './pools.ts'

/** A buffer that is out: the program has it, or a lease, and operations that hold it. */
interface Out {
  buffer: Buffer
  address: number
  byte: number
  lease: Lease | undefined
  /** References of a lease; 1 or 0 of an acquired one. */
  references: number
  holds: (() => void)[]
}

interface Waiting {
  abort: AbortController
  outcome: 'waiting' | 'aborted' | 'closed' | Buffer
}

/** What can be done to a pool, each with a number to choose by. */
export const STEPS = [
  'acquire',
  'tryAcquire',
  'acquireAsync',
  'abort',
  'lease',
  'retain',
  'release',
  'hold',
  'letGo',
  'doubleRelease',
  'foreignRelease',
  'wrongRelease',
  'trim',
  'reclaim',
  'share',
  'close',
] as const
export type StepName = (typeof STEPS)[number]

/** A pool beside a reference that says who has what. Every buffer that is out is filled with a byte of its own. */
export class PoolModel {
  readonly heap = new Heap({ limitBytes: 2 ** 24, leaks: 'off' })
  private readonly pool: BufferPool
  private readonly max: number
  private readonly out: Out[] = []
  private readonly waiting: Waiting[] = []
  /** With their addresses: in debug mode one that was released has none. */
  private readonly returned = new Map<Buffer, number>()
  private bytes = 0
  private isShared = false
  private isClosing = false
  private isClosed = false

  constructor(max: number, leaks: 'off' | 'all', idleBytes: number) {
    this.max = max
    this.pool = new Pool({ size: 64, max, heap: this.heap, leaks, idleBytes, trimMs: 0 })
  }

  /** Does a step, and compares. @throws Error where the pool does what the reference doesn't */
  async step(name: StepName, pick: number): Promise<void> {
    this[name](pick)
    // Whoever waited and was served is told in a microtask.
    await new Promise((resolve) => setImmediate(resolve))
    while (!this.isClosing && this.waiting.length > 0 && this.out.length < this.max) {
      const { outcome } = this.waiting.shift()!
      if (typeof outcome === 'string') throw new Error(`the first that waits is ${outcome}, not served`)
      this.add(outcome, undefined)
    }
    if (this.waiting.some(({ outcome }) => outcome !== 'waiting')) throw new Error('somebody was served out of turn')
    this.settleClose()
    this.compare()
  }

  /** Gives all back. */
  async finish(): Promise<void> {
    await this.step('close', 0)
    while (!this.isClosed && this.out.length > 0)
      await this.step(this.out[0]!.holds.length > 0 ? 'letGo' : 'release', 0)
    this.heap.audit()
    if (!this.isShared && this.heap.stats().liveBytes !== 0) throw new Error('blocks are left')
    this.heap.close()
  }

  private acquire(): void {
    const full = this.out.length === this.max || this.waiting.length > 0
    if (this.isClosing) {
      throws('ERR_POOL_CLOSED', () => this.pool.acquire())
      return
    }
    if (full) {
      throws('ERR_POOL_EXHAUSTED', () => this.pool.acquire())
      return
    }
    this.add(this.pool.acquire(), undefined)
  }

  private tryAcquire(): void {
    if (this.isClosing) {
      throws('ERR_POOL_CLOSED', () => this.pool.tryAcquire())
      return
    }
    const buffer = this.pool.tryAcquire()
    if ((buffer === undefined) !== (this.out.length === this.max)) throw new Error('tryAcquire at max')
    if (buffer !== undefined) this.add(buffer, undefined)
  }

  private acquireAsync(): void {
    const waiting: Waiting = { abort: new AbortController(), outcome: 'waiting' }
    this.pool.acquireAsync({ signal: waiting.abort.signal }).then(
      (buffer) => {
        waiting.outcome = buffer
      },
      (error: { code?: unknown }) => {
        waiting.outcome = error.code === 'ERR_POOL_CLOSED' ? 'closed' : 'aborted'
      }
    )
    if (!this.isClosing) this.waiting.push(waiting)
  }

  private abort(pick: number): void {
    if (this.waiting.length > 0) this.waiting.splice(pick % this.waiting.length, 1)[0]!.abort.abort()
  }

  private lease(): void {
    if (this.isClosing) {
      throws('ERR_POOL_CLOSED', () => this.pool.lease())
      return
    }
    if (this.out.length === this.max) {
      throws('ERR_POOL_EXHAUSTED', () => this.pool.lease())
      return
    }
    const lease = this.pool.lease()
    if (this.pool.leaseOf(lease.buffer.subarray(3)) !== lease) throw new Error('a lease isn’t found')
    this.add(lease.buffer, lease)
  }

  private retain(pick: number): void {
    const leases = this.out.filter(({ lease, references }) => lease !== undefined && references > 0)
    if (leases.length === 0) return
    const out = leases[pick % leases.length]!
    out.lease!.retain()
    out.references++
  }

  private release(pick: number): void {
    const able = this.out.filter(({ references }) => references > 0)
    if (able.length === 0) return
    const out = able[pick % able.length]!
    if (this.isClosed && out.lease === undefined) {
      throws('ERR_POOL_CLOSED', () => this.pool.release(out.buffer))
      return
    }
    this.check(out)
    if (out.lease === undefined) this.pool.release(out.buffer)
    else out.lease.release()
    out.references--
    this.settle(out)
  }

  private hold(pick: number): void {
    const able = this.out.filter(({ references, lease }) => references > 0 || lease !== undefined)
    if (able.length === 0 || this.isClosed) return
    const out = able[pick % able.length]!
    out.holds.push(this.pool.hold(out.buffer.subarray(pick % 64))!)
  }

  private letGo(pick: number): void {
    const held = this.out.filter(({ holds }) => holds.length > 0)
    if (held.length === 0) return
    const out = held[pick % held.length]!
    this.check(out)
    const [letGo] = out.holds.splice(pick % out.holds.length, 1)
    letGo!()
    letGo!() // counts once
    this.settle(out)
  }

  private doubleRelease(pick: number): void {
    const able = [...this.returned.keys()].filter((buffer) =>
      this.out.every((out) => out.address !== this.returned.get(buffer))
    )
    if (able.length === 0) return
    throws(this.isClosed ? 'ERR_POOL_CLOSED' : 'ERR_POOL_DOUBLE_RELEASE', () =>
      this.pool.release(able[pick % able.length]!)
    )
  }

  private foreignRelease(pick: number): void {
    const foreign =
      this.out.length === 0 ? Buffer.alloc(64) : this.out[pick % this.out.length]!.buffer.subarray(1 + (pick % 40))
    throws(this.isClosed ? 'ERR_POOL_CLOSED' : 'ERR_POOL_FOREIGN_BUFFER', () => this.pool.release(foreign))
  }

  /** Of what a lease or only an operation has. */
  private wrongRelease(pick: number): void {
    const able = this.out.filter(({ lease, references }) => lease !== undefined || references === 0)
    if (able.length === 0) return
    const { lease, buffer } = able[pick % able.length]!
    const code = lease === undefined ? 'ERR_POOL_DOUBLE_RELEASE' : 'ERR_POOL_LEASED'
    throws(this.isClosed ? 'ERR_POOL_CLOSED' : code, () => this.pool.release(buffer))
  }

  private trim(pick: number): void {
    if (this.isClosing) {
      throws('ERR_POOL_CLOSED', () => this.pool.trim())
      return
    }
    this.pool.trim(pick % (this.max + 2))
    const { idle, buffers } = this.pool.stats()
    if (idle > 0 && buffers > pick % (this.max + 2)) throw new Error('trim left more idle than it was told')
  }

  private reclaim(): void {
    if (this.isClosing) throws('ERR_POOL_CLOSED', () => this.pool.reclaim())
    else if (this.pool.reclaim() !== 0) throw new Error('nobody has died')
  }

  private share(pick: number): void {
    // Seldom: it is for good.
    if (pick % 4 !== 0) return
    if (this.isClosing) {
      throws('ERR_POOL_CLOSED', () => this.pool.share())
      return
    }
    this.pool.share()
    this.isShared = true
  }

  private close(): void {
    this.pool.close()
    this.isClosing = true
    this.waiting.length = 0
  }

  private add(buffer: Buffer, lease: Lease | undefined): void {
    const address = this.heap.addressOf(buffer)
    if (this.out.some((out) => out.address === address)) throw new Error('a buffer has two owners')
    const byte = this.bytes++ & 0xff
    buffer.fill(byte)
    this.out.push({ buffer, address, byte, lease, references: 1, holds: [] })
  }

  private check({ buffer, byte }: Out): void {
    if (!buffer.every((value) => value === byte)) throw new Error('somebody else has written to a buffer')
  }

  /** Whether nobody needs a buffer any more. */
  private settle(out: Out): void {
    if (out.references > 0 || out.holds.length > 0) return
    this.out.splice(this.out.indexOf(out), 1)
    this.returned.set(out.buffer, out.address)
  }

  private settleClose(): void {
    // It is the only thread that has the pool open, shared or not.
    if (this.isClosing && this.out.length === 0) this.isClosed = true
  }

  private compare(): void {
    for (const out of this.out) this.check(out)
    if (this.isClosed) return
    const { acquired, leased } = countsOf(this.pool)
    const held = this.out.filter(({ lease, holds }) => lease !== undefined || holds.length > 0).length
    if (leased !== held || acquired !== this.out.length - held)
      throw new Error(`${acquired} acquired and ${leased} leased, but ${this.out.length} are out, ${held} held`)
    if (this.pool.stats().waiting !== this.waiting.length) throw new Error('others wait than should')
  }
}

function throws(code: string, run: () => unknown): void {
  try {
    run()
  } catch (error) {
    if ((error as { code?: unknown }).code === code) return
    throw error
  }
  throw new Error(`${code} is missing`)
}
