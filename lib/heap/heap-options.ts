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
/** What gperftools clips that budget to. */
const MOST_CACHE_BYTES = 2 ** 30

/** How a {@link Heap} is made. */
export interface HeapOptions {
  /**
   * The most bytes that the heap may map for blocks, up to 32 GiB. All heaps of the process that are made without a limit share the default:
   * together they never have more than that.
   * @default three quarters of the machine's memory, or of the tightest limit of the process's cgroups
   */
  limitBytes?: number
  /**
   * What all thread caches together may hold, in bytes, at most 1 GiB. With 0 every call goes to the caches that all threads share: slower,
   * but nothing is free where another thread can't have it.
   * @default 32 * 2 ** 20
   */
  cacheBytes?: number
  /**
   * How eagerly freed pages go back to the system by themselves: 10 is ten times as fast as 1, 0 is never.
   * @default 1
   */
  releaseRate?: number
  /**
   * What is kept of system calls, beside the counts in `stats()`.
   * @default counts only
   */
  ledger?: LedgerOptions
  /**
   * Without the addon, whether `share` is to work: the memory is a growable SharedArrayBuffer then, which some APIs refuse. With the addon
   * every heap can be shared.
   * @default false
   */
  shared?: boolean
  /**
   * Where memory comes from; tests give a simulated one.
   * @default the operating system
   */
  mapper?: Mapper
  /**
   * Which buffers of `allocBuffer` and `allocArray` are watched: none (`off`), one in 8192 (`sampled`), or `all`, which takes some 30
   * microseconds for each. A watched buffer that is collected before it was freed is reported, with the stack of its allocation, to the
   * diagnostics channel `spanheap:leak`, or as a warning if nobody listens.
   * @default 'sampled'; 'off' if NODE_ENV is production
   */
  leaks?: LeakLevel
  /**
   * Debug mode, for tests: a write past the end of a block or after its free is found, reported to the diagnostics channel `spanheap:misuse`
   * with the stacks of the allocation and of the free, and thrown by the next call that can. Buffers have ArrayBuffers of their own, of length
   * 0 after their free, and a pool gives a new object at each acquire. A call takes microseconds. All threads of a heap have the mode that it
   * was made with.
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

/** What a heap is in one thread, of its own making or another's. */
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
 * Runs before a heap's fields are set: each of them once, where it is declared, since V8 takes a field that is stored once for a constant.
 * (So no field there can be one that isn't private: the compiler would then store all of them twice.)
 */
export abstract class Opening extends MappedHeap {
  /** @internal What the heap that is being made is made of; nobody else keeps it. */
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
