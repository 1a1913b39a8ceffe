import { constants } from 'node:buffer'
import { checkAlignment, checkChoice, checkInteger, checkOptions, type OptionNames } from '../base/arguments.ts'
import { wrongType } from '../base/errors.ts'
import { staysHere } from '../base/printed.ts'
import { checkLeakLevel, defaultLeakLevel, type LeakLevel, LeakWatch } from '../buffers/leak-watch.ts'
import { Heap } from '../heap/heap.ts'
import { notAHeap } from '../tcmalloc/token.ts'
import { type PoolShape, PoolSlots } from './pool-slots.ts'

/** The most buffers that any pool may have. */
const MOST_BUFFERS = 2 ** 20
/** The default for a shared pool: its words then take 512 KiB. */
const SHARED_BUFFERS = 65_536
/** The default limit of idle bytes; at least four buffers may be idle. */
const DEFAULT_IDLE_BYTES = 16 * 2 ** 20
const DEFAULT_IDLE_BUFFERS = 4
const DEFAULT_TRIM_MS = 1000
/** The longest buffer. */
const MOST_SIZE = Math.min(2 ** 35, constants.MAX_LENGTH)

/** A pool's buffer. */
export type PoolBuffer = Buffer<ArrayBuffer>

/** Options of a {@link BufferPool}. */
export interface PoolOptions {
  /** The length of its buffers, in bytes. */
  size: number
  /**
   * The heap that its buffers are from. A heap of the pool's own is closed with it.
   * @default a heap of the pool's own
   */
  heap?: Heap
  /**
   * The most buffers that may exist at once, acquired and idle.
   * @default 1048576; 65536 of a pool that is shared
   */
  max?: number
  /**
   * Idle buffers that are kept when others are given back.
   * @default 0
   */
  min?: number
  /**
   * The most bytes that may be idle, but room for 4 buffers at least. A buffer beyond that is given back to the heap when it is released.
   * @default 16 * 2 ** 20
   */
  idleBytes?: number
  /**
   * The interval, in milliseconds, at which half of the buffers that weren't needed in it are given back; 0 is never.
   * @default 1000
   */
  trimMs?: number
  /**
   * When a buffer is filled with zeros: as it is acquired, as it is released, or never.
   * @default false
   */
  zero?: 'acquire' | 'release' | false
  /**
   * A power of two: every buffer's address is a multiple of it.
   * @default 16
   */
  alignment?: number
  /**
   * A name for the buffers' user, for `heap.stats({ detail: true })` and for reports.
   * @default 'pool 1', 'pool 2' and so on, by thread
   */
  tag?: string
  /**
   * Which leases and acquired buffers are watched for leaks, with a heap's three levels. By default acquired buffers aren't: missing ones
   * show in `stats()`, and watching one takes objects on V8's heap.
   * @default leases as the buffers of a heap are; buffers 'off'
   */
  leaks?: LeakLevel
}

/** The options, checked. */
export interface CheckedPool {
  heap: Heap
  ownsHeap: boolean
  shape: PoolShape
  /** The most slots once it is shared. */
  mostWhenShared: number
  min: number
  idleMost: number
  trimMs: number
  tag: string
  watch: LeakWatch
  leaseWatch: LeakWatch
}

/** @throws TypeError, RangeError */
export function checkPoolOptions(options: PoolOptions): CheckedPool {
  checkOptions(options, POOL_OPTIONS)
  const { heap } = options
  if (options.size === undefined) throw wrongType('size', 'a number', undefined)
  const size = checkInteger('size', options.size, 1, MOST_SIZE, 0)
  if (heap !== undefined && !(heap instanceof Heap)) throw notAHeap(heap)
  const zero = checkZero(options.zero)
  const alignment = options.alignment === undefined ? 0 : checkAlignment(options.alignment)
  const most = checkInteger('max', options.max, 1, MOST_BUFFERS, MOST_BUFFERS)
  const shape = { size, alignment, zero, most }
  const behaviour = checkBehaviour(options, size)
  return {
    heap: heap ?? new Heap(),
    ownsHeap: heap === undefined,
    shape,
    mostWhenShared: options.max === undefined ? SHARED_BUFFERS : most,
    ...behaviour,
  }
}

/** The parts of the pool that is being made; nothing else keeps them. */
export interface OpenedPool {
  readonly checked: CheckedPool
  readonly slots: PoolSlots
}

/** Runs before a pool's fields are set. A field that is stored once is stored where it is declared, as in a heap. */
export class Opening {
  /** @internal */
  static made: OpenedPool | undefined
  /** The length of its buffers, in bytes. */
  readonly size: number
  /** The name of the buffers' user, by the option or by number. */
  readonly tag: string
  /** @internal */
  readonly notCloneable: symbol

  constructor(options: PoolOptions | CheckedPool, slots: PoolSlots | undefined) {
    const checked = slots === undefined ? checkPoolOptions(options as PoolOptions) : (options as CheckedPool)
    const { heap, shape, tag } = checked
    this.size = shape.size
    this.tag = tag
    this.notCloneable = staysHere('a BufferPool', ': use share(), and BufferPool.attach() in the other one')
    Opening.made = { checked, slots: slots ?? PoolSlots.local(heap, shape) }
  }
}

/** The options that each thread may choose for itself. */
export type PoolBehaviour = Pick<PoolOptions, 'min' | 'idleBytes' | 'trimMs' | 'tag' | 'leaks'>

export const BEHAVIOUR_OPTIONS: OptionNames<PoolBehaviour> = {
  min: true,
  idleBytes: true,
  trimMs: true,
  tag: true,
  leaks: true,
}
export const POOL_OPTIONS: OptionNames<PoolOptions> = {
  size: true,
  max: true,
  heap: true,
  zero: true,
  alignment: true,
  ...BEHAVIOUR_OPTIONS,
}

/** @throws TypeError, RangeError */
export function checkBehaviour(
  options: PoolBehaviour,
  size: number
): Pick<CheckedPool, 'min' | 'idleMost' | 'trimMs' | 'tag' | 'watch' | 'leaseWatch'> {
  if (options.tag !== undefined && typeof options.tag !== 'string') throw wrongType('tag', 'a string', options.tag)
  const min = checkInteger('min', options.min, 0, MOST_BUFFERS, 0)
  const idle = Math.max(DEFAULT_IDLE_BYTES, DEFAULT_IDLE_BUFFERS * size)
  const idleBytes = checkInteger('idleBytes', options.idleBytes, 0, Number.MAX_SAFE_INTEGER, idle)
  const trimMs = checkInteger('trimMs', options.trimMs, 0, 2 ** 31 - 1, DEFAULT_TRIM_MS)
  const watch = new LeakWatch(checkLeakLevel(options.leaks, 'off'))
  const leaseWatch = new LeakWatch(checkLeakLevel(options.leaks, defaultLeakLevel()))
  const tag = options.tag ?? numberedTag('pool')
  return { min, idleMost: Math.max(min, Math.floor(idleBytes / size)), trimMs, tag, watch, leaseWatch }
}

/** How many untagged ones of each kind this thread has made. */
const numbers = new Map<string, number>()

/** A tag that is unique among those of its kind in this thread. */
export function numberedTag(kind: string): string {
  const number = (numbers.get(kind) ?? 0) + 1
  numbers.set(kind, number)
  return `${kind} ${number}`
}

function checkZero(zero: PoolOptions['zero']): PoolShape['zero'] {
  if (zero === undefined || zero === false) return 0
  return checkChoice('zero', zero, ['acquire', 'release'], 'acquire') === 'acquire' ? 1 : 2
}
