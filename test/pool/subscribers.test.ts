import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import process from 'node:process'
import { setTimeout as sleep } from 'node:timers/promises'
import test from 'ava'
import { AllocatorError, BufferPool, Heap } from '../../lib/index.ts'
import { HOST } from '../../lib/lifetime/host.ts'
import type { PoolEvent } from '../../lib/pool/pool-events.ts'
import { collectGarbage } from '../support/garbage.ts'

const SIZE = 1000
/** What a call may be refused with once the pool, or its heap, was closed; the others are of the calls that bring an event on. */
const CLOSED = ['ERR_POOL_CLOSED', 'ERR_HEAP_CLOSED']
const REFUSALS = [...CLOSED, 'ERR_POOL_EXHAUSTED', 'ERR_POOL_DOUBLE_RELEASE', 'ERR_POOL_PEERS_DIED', 'ERR_HEAP_CORRUPT']

/** A pool whose subscriber does something. */
class Case {
  /** Stays open, and sees what is left. */
  readonly main: Heap
  readonly heap: Heap
  readonly pool: BufferPool
  readonly held: Buffer[] = []
  readonly waits: Promise<void>[] = []
  readonly problems: string[] = []
  happened = 0

  constructor(isShared: boolean, debug: boolean) {
    this.main = new Heap({ limitBytes: 2 ** 26, leaks: 'off', debug })
    this.heap = Heap.attach(this.main.share(), { leaks: 'off' })
    this.pool = new BufferPool({ heap: this.heap, size: SIZE, max: 3, idleBytes: 2 * SIZE, trimMs: 0, leaks: 'all' })
    if (isShared) this.pool.share()
  }

  /** Makes a call, which may be refused, and keeps what it gives. */
  attempt(call: () => unknown): void {
    try {
      const got = call()
      if (Buffer.isBuffer(got)) this.keep(got)
    } catch (error) {
      this.refused(error)
    }
  }

  keep(buffer: Buffer): void {
    const slot = this.pool.blocks.slotUnder(buffer)
    if (this.held.some((other) => this.pool.blocks.slotUnder(other) === slot)) this.problems.push('handed out twice')
    this.held.push(buffer.fill(7))
  }

  acquire(): void {
    this.attempt(() => this.pool.tryAcquire())
  }

  wait(): void {
    this.waits.push(
      this.pool.acquireAsync().then(
        (buffer) => this.keep(buffer),
        (error) => this.refused(error)
      )
    )
  }

  release(): void {
    const buffer = this.held.pop()
    if (buffer !== undefined) this.attempt(() => this.pool.release(buffer))
  }

  private refused(error: unknown): void {
    const isTyped = error instanceof AllocatorError && REFUSALS.includes(error.code)
    if (!isTyped) this.problems.push((error as Error).stack!)
  }

  /** Ends all, and looks at what is left. */
  async end(): Promise<void> {
    // A waiter gets a buffer, or is told that there is none to come.
    while (this.held.length > 0) this.release()
    for (const other of [this.pool, this.heap]) this.attempt(() => other.close())
    const isSettled = await Promise.race([Promise.all(this.waits).then(() => true), sleep(500)])
    if (isSettled !== true) this.problems.push('a waiter waits for ever')
    while (this.held.length > 0) this.release()
    this.main.releaseFreeMemory()
    const { liveBytes, threads } = this.main.stats()
    if (liveBytes !== 0) this.problems.push(`${liveBytes} bytes are lost`)
    if (threads !== 1) this.problems.push(`${threads} threads are counted`)
    this.attempt(() => this.main.audit())
    this.main.close()
  }
}

/** Another thread has died with the buffers that the shared pool had left, or with one half made. */
function die({ pool, main }: Case, begin: (theirs: BufferPool) => void): void {
  const peer = Heap.attach(main.share(), { leaks: 'off' })
  const theirs = BufferPool.attach(pool.share(), { heap: peer, trimMs: 0 })
  begin(theirs)
  const { member, tables } = peer[HOST].tiers
  tables.slots.markDead(member.slot)
}

const halfMade = (one: Case) => die(one, ({ blocks: { slots } }) => slots.claimEmpty())
const takeAll = (one: Case) => die(one, (theirs) => Array.from({ length: 3 }, () => theirs.acquire()))

/** What brings each event on, behind a few buffers that are out. */
const EVENTS: Record<string, { channel?: string; only?: 'shared' | 'debug'; held: number; bring(one: Case): unknown }> =
  {
    grow: { held: 1, bring: (one) => one.acquire() },
    exhausted: { held: 3, bring: (one) => one.attempt(() => one.pool.acquire()) },
    wait: { held: 3, bring: (one) => one.wait() },
    misuse: {
      held: 2,
      bring: (one) => {
        const buffer = one.held.pop()!
        one.attempt(() => one.pool.release(buffer))
        one.attempt(() => one.pool.release(buffer))
      },
    },
    trim: {
      held: 3,
      bring: (one) => {
        for (let i = 0; i < 2; i++) one.release()
        one.attempt(() => one.pool.trim())
      },
    },
    'trim of a surplus': {
      held: 3,
      bring: (one) => {
        for (let i = 0; i < 3; i++) one.release()
      },
    },
    close: {
      held: 2,
      bring: (one) => {
        one.release()
        one.pool.close()
      },
    },
    'close of the heap': {
      held: 2,
      bring: (one) => {
        one.release()
        one.heap.close()
      },
    },
    death: {
      only: 'shared',
      held: 2,
      bring: (one) => {
        halfMade(one)
        one.acquire()
      },
    },
    'death while one waits': {
      only: 'shared',
      held: 0,
      bring: async (one) => {
        takeAll(one)
        one.wait()
        await sleep(120)
      },
    },
    'death, found by reclaim': {
      only: 'shared',
      held: 2,
      bring: (one) => {
        halfMade(one)
        one.attempt(() => one.pool.reclaim())
      },
    },
    lease: { held: 0, bring: (one) => one.attempt(() => void one.pool.lease().release()) },
    'tryLease, and a waiter': {
      held: 2,
      bring: (one) => {
        let lease: { release(): void } | undefined
        one.attempt(() => {
          lease = one.pool.tryLease()
        })
        one.wait()
        one.attempt(() => lease?.release())
      },
    },
    leak: {
      channel: 'spanheap:leak',
      held: 1,
      bring: async (one) => {
        one.held.length = 0
        await collectGarbage()
      },
    },
    overflow: {
      channel: 'spanheap:misuse',
      only: 'debug',
      held: 2,
      bring: (one) => {
        const buffer = one.held[0]!
        new Uint8Array(one.heap.buffer)[one.heap.addressOf(buffer) + SIZE] = 1
        one.held.reverse()
        one.release()
      },
    },
    'overflow of a lease': {
      channel: 'spanheap:misuse',
      only: 'debug',
      held: 2,
      bring: (one) => {
        const lease = one.pool.lease()
        new Uint8Array(one.heap.buffer)[one.heap.addressOf(lease.buffer) + SIZE] = 1
        one.attempt(() => lease.release())
      },
    },
    'write to an idle buffer': {
      channel: 'spanheap:misuse',
      only: 'debug',
      held: 2,
      bring: (one) => {
        const address = one.heap.addressOf(one.held[1]!)
        one.release()
        new Uint8Array(one.heap.buffer)[address + 5] = 1
        one.acquire()
        one.acquire()
      },
    },
  }

const ACTIONS: Record<string, (one: Case) => void> = {
  'close the pool': ({ pool }) => pool.close(),
  'close the heap': ({ heap }) => heap.close(),
  acquire: (one) => {
    one.acquire()
    one.acquire()
  },
  wait: (one) => one.wait(),
  release: (one) => one.release(),
  trim: (one) => one.attempt(() => one.pool.trim()),
  share: (one) => one.attempt(() => void one.pool.share()),
  throw: () => {
    throw new Error('a subscriber’s own')
  },
}

async function run(name: string, action: string, isShared: boolean, debug: boolean): Promise<string[]> {
  const { channel = 'spanheap:pool', held, bring } = EVENTS[name]!
  const one = new Case(isShared, debug)
  for (let i = 0; i < held; i++) one.acquire()
  const kind = name.split(' ')[0]!.replace(',', '')
  const listen = (message: unknown) => {
    const { event } = message as Partial<PoolEvent>
    const isIt = channel !== 'spanheap:pool' || event === kind || kind.endsWith('ease')
    if (isIt && one.happened++ === 0) ACTIONS[action]!(one)
  }
  subscribe(channel, listen)
  try {
    await bring(one)
    await sleep(0)
  } finally {
    unsubscribe(channel, listen)
  }
  if (one.happened === 0) one.problems.push('the event didn’t come')
  await one.end()
  return one.problems
}

for (const action of Object.keys(ACTIONS)) {
  for (const isShared of [false, true]) {
    test.serial(`a subscriber may ${action} in each event of a ${isShared ? 'shared' : 'local'} pool`, async (t) => {
      // Node throws a subscriber's error where nothing catches it.
      const others = process.listeners('uncaughtException')
      process.removeAllListeners('uncaughtException')
      const thrown = new Set<string>()
      process.on('uncaughtException', ({ message }) => thrown.add(message))
      for (const [name, { only }] of Object.entries(EVENTS)) {
        if (only === 'shared' && !isShared) continue
        for (const debug of only === 'debug' ? [true] : [false, true])
          t.deepEqual(await run(name, action, isShared, debug), [], `${name}${debug ? ', in debug mode' : ''}`)
      }
      process.removeAllListeners('uncaughtException')
      for (const other of others) process.on('uncaughtException', other)
      t.deepEqual([...thrown], action === 'throw' ? ['a subscriber’s own'] : [])
    })
  }
}
