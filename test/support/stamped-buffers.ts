import type { BufferPool, PassedBlock } from '../../lib/index.ts'
import { random } from './churn.ts'

/** A buffer that this thread has. */
interface Held {
  view: Uint8Array
  stamp: number
}

/** A buffer on its way to another thread, which releases it. */
export interface Sent {
  passed: PassedBlock
  stamp: number
}

/** One that this thread has. */
interface Held {
  view: Uint8Array
  stamp: number
}

/** More buffers than this no thread has at once. */
const MOST_HELD = 3

/**
 * What one thread does with a pool that others share. Each buffer holds a number of its owner's own for as long as it is owned: another
 * number in it says that it has two owners.
 */
export class StampedBuffers {
  private readonly pool: BufferPool
  private readonly next: () => number
  private readonly held: Held[] = []
  private stamps: number

  constructor(pool: BufferPool, seed: number) {
    this.pool = pool
    this.next = random(seed)
    this.stamps = seed << 24
  }

  /** Something at random. @param send where buffers may go to others */
  async step(send?: (sent: Sent) => void): Promise<void> {
    const { pool, held } = this
    const what = this.next() % 100
    if (what < 40 && held.length < MOST_HELD) {
      const buffer = pool.tryAcquire()
      if (buffer !== undefined) held.push(this.stamp(buffer))
    } else if (what < 70 && held.length > 0) {
      const { view } = this.check(held.splice(this.next() % held.length, 1)[0]!)
      pool.release(view)
    } else if (what < 80 && held.length > 0 && send !== undefined) {
      const { view, stamp } = this.check(held.pop()!)
      send({ passed: pool.pass(view), stamp })
    } else if (what < 88) {
      const lease = pool.tryLease()
      if (lease === undefined) return
      const sent = this.stamp(lease.buffer)
      const letGo = pool.hold(lease.buffer)!
      lease.release()
      await undefined
      this.check(sent)
      letGo()
    } else if (what < 92) pool.trim(this.next() % 8)
    else {
      // Who waits has none: so whoever has one will release it.
      this.releaseAll()
      const sent = this.stamp(await pool.acquireAsync())
      await undefined
      pool.release(this.check(sent).view)
    }
  }

  /** Takes over what another thread has sent, and releases it. */
  receive({ passed, stamp }: Sent): void {
    const { view } = this.check({ view: this.pool.adopt(passed), stamp })
    const own = this.stamp(view)
    this.pool.release(this.check(own).view)
  }

  releaseAll(): void {
    for (const held of this.held.splice(0)) this.pool.release(this.check(held).view)
  }

  private stamp(view: Uint8Array): Held {
    const stamp = ++this.stamps
    wordsOf(view).fill(stamp)
    return { view, stamp }
  }

  private check(held: Held): Held {
    const wrong = wordsOf(held.view).find((word) => word !== held.stamp)
    if (wrong !== undefined) throw new Error(`a buffer with the stamp ${held.stamp} has another owner's: ${wrong}`)
    return held
  }
}

function wordsOf(view: Uint8Array): Int32Array {
  return new Int32Array(view.buffer, view.byteOffset, view.byteLength >> 2)
}
