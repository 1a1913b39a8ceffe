import { setImmediate } from 'node:timers/promises'
import { Random } from '../support/random.ts'

/**
 * What the instrumented library calls, in each thread: steps, strike points and memory. A step is one access to a shared word, or one bulk
 * operation. Before each step the thread may have to give up its turn. One thread runs at a time.
 */

/** How memory behaves. */
export type Memory =
  /** Sequential consistency: a store is seen at once. */
  | 'sc'
  /** x86: a store waits in its thread's buffer, and stores leave in order. */
  | 'tso'
  /** ARM64's stores: stores to different words leave the buffer in any order. An Atomics operation empties it first. */
  | 'pso'
  /** ARM64's loads: a plain load of a word that doesn't depend on another load may give an earlier value, back to the last Atomics operation. */
  | 'stale'

/** Words of the control block. */
export const enum Control {
  /** The thread whose turn it is; 0 is the controller. */
  Turn = 0,
  /** How many stores are in the log. */
  Logged = 1,
  /** The words of thread n begin at n times this. */
  Thread = 16,
  Words = 128,
}

/** The words of a thread in the control block. */
export const enum OfThread {
  /** Its `Status`. */
  Status = 0,
  /** Steps until the thread gives up its turn. */
  Budget = 1,
  /** Steps of the run so far after which the next strike point strikes. */
  StrikeAt = 2,
  /** Which of the buffered stores leave when the turn ends; see `Flush`. */
  Flush = 3,
  Steps = 4,
  /** The step whose load gives the oldest value that it may; 0 for none, -1 for half of all. */
  StaleAt = 5,
  /** How many words had stores in the thread's buffer as its turn ended. */
  Buffered = 6,
}

export const enum Status {
  Running = 0,
  /** It has used up its budget. */
  Preempted = 1,
  /** It sleeps in `Atomics.wait`. */
  Blocked = 2,
  Done = 3,
  /** It was struck. */
  Struck = 4,
  /** It waits for a run. */
  Ready = 5,
}

/** Which stores leave a thread's buffer at the end of a turn. From `First` on: only those to the n-th word, or all but those. */
export const enum Flush {
  None = 0,
  All = 1,
  Random = 2,
  First = 3,
}

/** What a step did, in the trace. */
export const enum Kind {
  Load = 0,
  Store = 1,
  /** An atomic load. */
  AtomicLoad = 2,
  /** An atomic store or update. */
  Update = 3,
  /** More than one word, or a call of the system. */
  Bulk = 4,
  Mask = 7,
  /** The load could have given an older value. */
  HasOlder = 8,
}

/** Steps that a trace has room for. A run with more is a livelock. */
export const MOST_STEPS = 1 << 18
export const MOST_THREADS = 4
const LOG_ENTRIES = 1 << 18

/** The memory that the controller and all threads share. */
export interface Shared {
  control: Int32Array
  /** Of each thread, what each step touched and how; 0 in `keys` for bulk operations. */
  keys: Float64Array
  kinds: Uint8Array
  /** All stores, in stale memory: key, old value, thread. */
  log: Float64Array
}

export function makeShared(): Shared {
  return {
    control: new Int32Array(new SharedArrayBuffer(4 * Control.Words)),
    keys: new Float64Array(new SharedArrayBuffer(8 * MOST_STEPS * (MOST_THREADS + 1))),
    kinds: new Uint8Array(new SharedArrayBuffer(MOST_STEPS * (MOST_THREADS + 1))),
    log: new Float64Array(new SharedArrayBuffer(8 * 3 * LOG_ENTRIES)),
  }
}

/** Thrown at a strike point. */
export const STRUCK = Symbol('struck')

/** A thread slot of a heap. */
export interface Claim {
  /** The address of the heap's tables. */
  tables: number
  slot: number
}

type Words = Int32Array | Int8Array | Uint8Array | Uint32Array | Float64Array
interface Buffered {
  words: Words
  index: number
  value: number
  key: number
  /** An atomic store: all earlier ones leave before it. */
  isRelease: boolean
}

/** The real address of a SharedArrayBuffer's memory, which is the same in each thread; undefined if nothing is known of it. */
type AddressOf = (buffer: SharedArrayBuffer) => number | undefined

/** This thread in the present run. */
class Runner {
  shared!: Shared
  me = 0
  /** Whether steps count: between the preparations and the result. */
  isOn = false
  memory: Memory = 'sc'
  addressOf: AddressOf = () => undefined
  isStruck = false
  steps = 0
  /** The thread slots that this thread has claimed and not freed. */
  claims: Claim[] = []
  /** What this thread's event loop would wake, were it not that the thread is in a run: one for each `Atomics.waitAsync`. */
  sleepers: (() => void)[] = []
  private budget = Number.POSITIVE_INFINITY
  private strikeAt = Number.POSITIVE_INFINITY
  private staleAt = 0
  private random = new Random(1)
  private readonly buffer: Buffered[] = []
  private readonly bases = new WeakMap<SharedArrayBuffer, number>()
  private unknown = 0
  /** In stale memory: where the log was at the last Atomics operation, and at the last load of each word. */
  private acquired = 0
  private readonly lastLoads = new Map<number, number>()

  begin(memory: Memory, seed: number): void {
    this.memory = memory
    this.random = new Random(seed)
    this.isStruck = false
    this.steps = 0
    this.buffer.length = 0
    this.unknown = 0
    this.lastLoads.clear()
    this.acquired = this.shared.control[Control.Logged]!
  }

  /** Gives up the turn, and returns with the next one. */
  yield(status: Status): void {
    const { control } = this.shared
    const at = this.me * Control.Thread
    control[at + OfThread.Status] = status
    control[at + OfThread.Steps] = this.steps
    Atomics.store(control, Control.Turn, 0)
    Atomics.notify(control, Control.Turn)
    for (let turn = 0; turn !== this.me; turn = Atomics.load(control, Control.Turn))
      Atomics.wait(control, Control.Turn, turn)
    this.budget = control[at + OfThread.Budget]!
    this.strikeAt = control[at + OfThread.StrikeAt]!
    this.staleAt = control[at + OfThread.StaleAt]!
    control[at + OfThread.Status] = Status.Running
  }

  strikePoint(): void {
    if (!this.isOn) return
    if (!this.isStruck && this.steps < this.strikeAt) return
    this.drain()
    this.isStruck = true
    throw STRUCK
  }

  step(kind: Kind, key: number): void {
    if (this.isStruck) return
    while (--this.budget < 0) {
      const { control } = this.shared
      const at = this.me * Control.Thread
      control[at + OfThread.Buffered] = new Set(this.buffer.map(({ key }) => key)).size
      this.flush(control[at + OfThread.Flush]!)
      this.yield(Status.Preempted)
    }
    const at = this.me * MOST_STEPS + this.steps
    this.shared.keys[at] = key
    this.shared.kinds[at] = kind
    if (++this.steps >= MOST_STEPS) throw new Error(`a thread took ${MOST_STEPS} steps`)
  }

  keyOf(words: Words, index: number): number {
    const buffer = words.buffer as SharedArrayBuffer
    let base = this.bases.get(buffer)
    if (base === undefined) {
      // Memory of V8's has no address to tell. The fallback's is told by its length, a scenario's own by the order in which threads use it.
      base =
        this.addressOf(buffer) ??
        (buffer.growable ? buffer.maxByteLength * 2 ** 24 : 2 ** 52 + 2 ** 40 * this.unknown++)
      this.bases.set(buffer, base)
    }
    return base + words.byteOffset + index * words.BYTES_PER_ELEMENT
  }

  load(words: Words, index: number, isIndependent: boolean): number {
    const key = this.keyOf(words, index)
    this.step(Kind.Load, key)
    const own = this.buffered(key)
    if (own !== undefined) return own
    return this.memory === 'stale' && isIndependent ? this.olderValue(words, index, key) : words[index]!
  }

  store(words: Words, index: number, value: number): void {
    const key = this.keyOf(words, index)
    this.step(Kind.Store, key)
    this.put(words, index, value, key, false)
  }

  private put(words: Words, index: number, value: number, key: number, isRelease: boolean): void {
    if (this.memory === 'sc' || this.memory === 'stale') {
      this.note(words, index, key)
      words[index] = value
    } else this.buffer.push({ words, index, value: wrapped(words, value), key, isRelease })
  }

  atomic(name: string, words: Words, index: number, ...rest: number[]): unknown {
    this.strikePoint()
    const key = this.keyOf(words, index)
    const operation = Atomics as unknown as Record<string, (...args: unknown[]) => unknown>
    this.acquired = this.shared.control[Control.Logged]!
    if (name === 'load') {
      this.step(Kind.AtomicLoad, key)
      this.drainReleases()
      return this.buffered(key) ?? operation.load!(words, index)
    }
    this.step(name === 'notify' ? Kind.AtomicLoad : Kind.Update, key)
    this.acquired = this.shared.control[Control.Logged]!
    if (name === 'store' && this.memory === 'pso') {
      this.put(words, index, rest[0]!, key, true)
      return rest[0]
    }
    this.drain()
    if (name === 'notify') return 0
    if (name !== 'wait') {
      this.note(words, index, key)
      return operation[name]!(words, index, ...rest)
    }
    if (operation.load!(words, index) !== rest[0]) return 'not-equal'
    this.yield(Status.Blocked)
    this.acquired = this.shared.control[Control.Logged]!
    this.strikePoint()
    return 'timed-out'
  }

  waitAsync(): { async: true; value: Promise<string> } {
    return { async: true, value: new Promise((resolve) => this.sleepers.push(() => resolve('ok'))) }
  }

  /** A turn of the event loop, in which all that sleep wake up: whether or not they were notified, they look for themselves. */
  async turnLoop(): Promise<void> {
    for (const wake of this.sleepers.splice(0)) wake()
    await setImmediate()
  }

  bulk(): void {
    this.step(Kind.Bulk, 0)
    this.drain()
  }

  /** Keeps the account of slots as the shim does, whose hook marks them all dead as the thread ends. */
  noteClaim(buffer: SharedArrayBuffer, name: string, argument: number, result: number): void {
    if (name !== 'claimSlot' && name !== 'freeSlot') return
    const tables = this.addressOf(buffer) ?? 0
    if (name === 'freeSlot')
      this.claims = this.claims.filter((claim) => claim.tables !== tables || claim.slot !== argument)
    else if (result >= 0) this.claims.push({ tables, slot: result })
  }

  /** The value that this thread has stored and that hasn't left its buffer. */
  private buffered(key: number): number | undefined {
    return this.buffer.findLast((store) => store.key === key)?.value
  }

  drain(): void {
    for (const store of this.buffer) store.words[store.index] = store.value
    this.buffer.length = 0
  }

  /** Ends what an atomic load must not pass: the atomic stores, and all before them. */
  private drainReleases(): void {
    const last = this.buffer.findLastIndex((store) => store.isRelease)
    for (const store of this.buffer.splice(0, last + 1)) store.words[store.index] = store.value
  }

  /** The stores that leave the buffer as the turn ends. */
  private flush(flushing: number): void {
    const { buffer } = this
    if (buffer.length === 0 || flushing === Flush.None) return
    if (flushing === Flush.All) {
      this.drain()
      return
    }
    if (this.memory === 'tso') {
      const count = flushing === Flush.Random ? this.random.below(buffer.length + 1) : flushing - Flush.First
      for (const store of buffer.splice(0, count)) store.words[store.index] = store.value
      return
    }
    const keys = [...new Set(buffer.map(({ key }) => key))]
    const chosen =
      flushing === Flush.Random
        ? new Set(keys.filter(() => this.random.below(2) === 1))
        : new Set(keys.filter((_, n) => (n === (flushing - Flush.First) >> 1) === ((flushing & 1) === 1)))
    const staying: Buffered[] = []
    for (const store of buffer) {
      if (chosen.has(store.key) && !(store.isRelease && staying.length > 0)) store.words[store.index] = store.value
      else {
        staying.push(store)
        chosen.delete(store.key)
      }
    }
    buffer.splice(0, buffer.length, ...staying)
  }

  /** Writes the present value into the log, before another takes its place. */
  private note(words: Words, index: number, key: number): void {
    if (this.memory !== 'stale') return
    const { control, log } = this.shared
    const at = control[Control.Logged]!
    log.set([key, words[index]!, this.me], 3 * (at % LOG_ENTRIES))
    control[Control.Logged] = at + 1
  }

  /** The word's value, or an older one where a processor may still have that. */
  private olderValue(words: Words, index: number, key: number): number {
    const { control, log } = this.shared
    const end = control[Control.Logged]!
    const least = Math.max(this.acquired, this.lastLoads.get(key) ?? 0, end - LOG_ENTRIES)
    let older = -1
    for (let at = end - 1; at >= least; at--) {
      const entry = 3 * (at % LOG_ENTRIES)
      if (log[entry] !== key) continue
      if (log[entry + 2] === this.me) break
      older = at
    }
    if (older >= 0) this.shared.kinds[this.me * MOST_STEPS + this.steps - 1]! |= Kind.HasOlder
    const isWanted = this.staleAt < 0 ? this.random.below(2) === 1 : this.staleAt === this.steps
    const isChosen = older >= 0 && isWanted
    this.lastLoads.set(key, isChosen ? older : end)
    return isChosen ? log[3 * (older % LOG_ENTRIES) + 1]! : words[index]!
  }
}

export const runner = new Runner()

const isShared = (words: unknown): words is Words =>
  ArrayBuffer.isView(words) && words.buffer instanceof SharedArrayBuffer && !(words instanceof DataView)

const counts = (words: unknown): words is Words => runner.isOn && isShared(words)

function wrapped(words: Words, value: number): number {
  if (words instanceof Int8Array) return (value << 24) >> 24
  return words instanceof Int32Array ? value | 0 : value
}

type Elements = Record<number, unknown>

const load = (words: Elements, index: number, isIndependent = false): unknown =>
  counts(words) ? runner.load(words, index, isIndependent) : words[index]

const store = (words: Elements, index: number, value: unknown): unknown => {
  if (counts(words)) runner.store(words, index, value as number)
  else words[index] = value
  return value
}

const update = (words: Elements, index: number, compute: (old: unknown) => unknown): unknown =>
  store(words, index, compute(load(words, index)))

Object.assign(globalThis, {
  __strikePoint: () => runner.strikePoint(),
  __notStruck: () => {
    if (runner.isOn && runner.isStruck) throw STRUCK
  },
  __runs: () => !(runner.isOn && runner.isStruck),
  __load: (words: Elements, index: number) => load(words, index),
  __loadAt: (words: Elements, index: number) => load(words, index, true),
  __store: store,
  __update: update,
  __increment: (words: Elements, index: number, by: number) => update(words, index, (old) => (old as number) + by),
  __postIncrement: (words: Elements, index: number, by: number) => {
    const old = load(words, index) as number
    store(words, index, old + by)
    return old
  },
  __atomic: (name: string, words: Words, index: number, ...rest: number[]) => {
    if (name === 'waitAsync' && runner.me !== 0) return runner.waitAsync()
    if (counts(words)) return runner.atomic(name, words, index, ...rest)
    return (Atomics as unknown as Record<string, (...args: unknown[]) => unknown>)[name]!(words, index, ...rest)
  },
  __bulk: (object: Record<string, (...args: unknown[]) => unknown>, name: string, ...args: unknown[]) => {
    const isMapping = 'isUnder' in Object(object)
    if (runner.isOn && (isMapping || isShared(object))) runner.bulk()
    const result = object[name]!(...args)
    if (isMapping) runner.noteClaim(object.buffer as never, name, args[1] as number, result as number)
    return result
  },
})
