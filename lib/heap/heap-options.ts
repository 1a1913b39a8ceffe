import { checkBoolean, checkInteger, checkNumber, checkOptions, type OptionNames } from '../base/arguments.ts'
import { staysHere } from '../base/printed.ts'
import { checkLeakLevel, defaultLeakLevel, type LeakLevel, LeakWatch } from '../buffers/leak-watch.ts'
import { MappedHeap } from '../memory/mapped-heap.ts'
import { checkHeapLimit } from '../memory/reservation.ts'
import type { Mapper } from '../os/mapper.ts'
import type { LedgerOptions } from '../os/native-mapper.ts'
import { openMapper } from '../os/open-mapper.ts'
import { TCMalloc } from '../tcmalloc/tcmalloc.ts'

/** TCMalloc's budget for all thread caches together (kDefaultOverallThreadCacheSize). */
const DEFAULT_CACHE_BYTES = 32 * 2 ** 20
/** The most that gperftools allows for that budget. */
const MOST_CACHE_BYTES = 2 ** 30

/** Options of a {@link Heap}. */
export interface HeapOptions {
  /**
   * The most bytes that the heap may map for blocks, up to 32 GiB. All heaps of the process that are made without a limit share the
   * default: together they never map more than that.
   * @default three quarters of the machine's memory, or of the tightest limit of the process's cgroups
   */
  limitBytes?: number
  /**
   * The most bytes that all thread caches together may hold, at most 1 GiB. With 0 every call goes to the caches that all threads share:
   * slower, but every free object can be had by any thread.
   * @default 32 * 2 ** 20
   */
  cacheBytes?: number
  /**
   * How eagerly the heap returns freed pages to the system by itself: 10 is ten times as fast as 1, 0 is never.
   * @default 1
   */
  releaseRate?: number
  /**
   * Which system calls are recorded, beside the counts in `stats()`.
   * @default counts only
   */
  ledger?: LedgerOptions
  /**
   * Makes `share` work without the addon: the memory is then a growable SharedArrayBuffer, which some APIs refuse. With the addon every
   * heap can be shared.
   * @default false
   */
  shared?: boolean
  /**
   * The source of memory; tests give a simulated one.
   * @default the operating system
   */
  mapper?: Mapper
  /**
   * Which buffers of `allocBuffer` and `allocArray` are watched: none (`off`), one in 8192 (`sampled`), or `all`, which takes some 30
   * microseconds for each. A watched buffer that is collected before it was freed is reported, with the stack of its allocation, to the
   * diagnostics channel `spanheap:leak`, or as a warning if that has no subscriber.
   * @default 'sampled'; 'off' if NODE_ENV is production
   */
  leaks?: LeakLevel
  /**
   * Debug mode, for tests. A write past the end of a block or after its free is found and reported to the diagnostics channel
   * `spanheap:misuse` with the stacks of the allocation and of the free; the next call that can throws it. Buffers have ArrayBuffers of
   * their own, of length 0 after their free, and a pool gives a new object at each acquire. A call takes microseconds. All threads of a
   * heap have the mode that it was made with.
   * @default false; true if the environment has SPANHEAP_DEBUG=1
   */
  debug?: boolean
}

/** How a thread attaches to a heap. */
export type AttachOptions = Pick<HeapOptions, 'mapper' | 'leaks'>

const HEAP_OPTIONS: OptionNames<HeapOptions> = {
  limitBytes: true,
  cacheBytes: true,
  releaseRate: true,
  leaks: true,
  debug: true,
  shared: true,
  ledger: true,
  mapper: true,
}
const ATTACH_OPTIONS: OptionNames<AttachOptions> = { leaks: true, mapper: true }

/** A heap as one thread has it, made or attached there. */
export class Attachment {
  readonly mapper: Mapper
  readonly tiers: TCMalloc
  readonly watch: LeakWatch

  constructor(mapper: Mapper, tiers: TCMalloc, watch: LeakWatch) {
    this.mapper = mapper
    this.tiers = tiers
    this.watch = watch
  }
}

/** Checks options, and makes a new heap of them. @throws AllocatorError `ERR_HEAP_OUT_OF_MEMORY` */
function createAttachment(options: HeapOptions): Attachment {
  checkOptions(options, HEAP_OPTIONS)
  const limit = checkHeapLimit(options.limitBytes)
  const shared = checkBoolean('shared', options.shared, false)
  const debug = checkBoolean('debug', options.debug, process.env.SPANHEAP_DEBUG === '1')
  const cacheBytes = checkInteger('cacheBytes', options.cacheBytes, 0, MOST_CACHE_BYTES, DEFAULT_CACHE_BYTES)
  const releaseRate = checkNumber('releaseRate', options.releaseRate, 0, 10000, 1)
  const watch = new LeakWatch(checkLeakLevel(options.leaks, defaultLeakLevel()))
  const mapper = options.mapper ?? openMapper(options.ledger ?? {})
  const tiers = TCMalloc.create(mapper, {
    ...limit,
    shared,
    cacheBytes,
    releaseRate,
    debug,
  })
  return new Attachment(mapper, tiers, watch)
}

/**
 * Runs before a heap's fields are set. Each field is set once, where it is declared, since V8 treats a field that is stored once as a
 * constant. (So every field there must be private: otherwise the compiler would store all of them twice.)
 */
export abstract class Opening extends MappedHeap {
  /** @internal The parts of the heap that is being made; nothing else keeps them. */
  static made: Attachment | undefined
  /** @internal */
  readonly notCloneable: symbol

  constructor(options: HeapOptions | Attachment) {
    const made = options instanceof Attachment ? options : createAttachment(options)
    super(made.mapper)
    this.notCloneable = staysHere('a Heap', ': use share(), and Heap.attach() in the other one')
    Opening.made = made
  }
}

/** How a thread that attaches to a heap watches its buffers. */
export function checkWatch(options: AttachOptions): LeakWatch {
  checkOptions(options, ATTACH_OPTIONS)
  return new LeakWatch(checkLeakLevel(options.leaks, defaultLeakLevel()))
}
