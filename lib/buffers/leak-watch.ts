import { channel } from 'node:diagnostics_channel'
import { checkChoice } from '../base/arguments.ts'
import { emitWarning } from '../base/warning.ts'
import { callersIn, callStack } from './call-stack.ts'

/** How many of the buffers are watched: none, one in 8192, or all. */
export type LeakLevel = 'off' | 'sampled' | 'all'

/** One of so many is watched at the level `sampled`: to note a stack and to watch takes some 27 µs, which adds 3 ns to each. */
const SAMPLE = 8192
/** Small enough to be a small integer, large enough that nobody counts down from it. */
const NEVER = 2 ** 30
/** More leaks than this of one thread aren't printed; the channel tells of all. */
const MOST_WARNINGS = 10

/** What is told of a buffer, or of a lease, that was collected without having been given back. */
export interface LeakReport {
  /** What was lost: a buffer of a heap, or a lease of a pool. */
  readonly kind: 'buffer' | 'lease'
  /** The address of its block. */
  readonly address: number
  /** Its length in bytes. */
  readonly bytes: number
  /** The tag that it was allocated with. */
  readonly tag: string | undefined
  /** Where it was allocated. */
  readonly stack: string | undefined
}

/** What is watched: as long as somebody has it, it must be given back. */
export interface Watched {
  readonly kind: LeakReport['kind']
  readonly address: number
  readonly bytes: number
  readonly tag: string | undefined
  /** Whether it was not given back, by whatever way or thread. */
  isHeld(): boolean
  /** Forgets it: it is given back, or will never be. */
  forget(): void
}

/** A {@link LeakReport} for each leak of this thread. Where nobody listens, the first ten are warnings of the process. */
const leaks = channel('spanheap:leak')
let warnings = 0

interface Entry {
  readonly watched: Watched
  /** Of one whose leak is told: where it was allocated. */
  readonly allocation: { readonly stack: string | undefined } | undefined
}

/**
 * Reports what is collected without having been given back. It costs what a FinalizationRegistry costs, so it is for some of
 * all buffers, unless it was asked for.
 */
export class LeakWatch {
  /** So many more needn't be looked at; the usual path counts it down. 0 for good where every buffer is watched. */
  untilWatched: number
  private readonly level: LeakLevel
  private readonly registry: FinalizationRegistry<Entry>

  constructor(level: LeakLevel) {
    this.level = level
    this.untilWatched = this.spacing()
    this.registry = new FinalizationRegistry((entry) => this.collected(entry))
  }

  /** Counts one more buffer. True where it is one to be reported, and so to be watched. */
  next(): boolean {
    if (this.untilWatched-- > 0) return false
    this.untilWatched = this.spacing()
    return this.level !== 'off'
  }

  /** Whether any leak is reported. */
  get isOn(): boolean {
    return this.level !== 'off'
  }

  /** Watches what `holder` stands for. `watched` must not lead to it. @param noted whether its leak is reported */
  watch(holder: object, watched: Watched, noted: boolean): void {
    this.registry.register(holder, { watched, allocation: noted ? { stack: callStack() } : undefined }, watched)
  }

  /** It was given back. */
  unwatch(watched: Watched): void {
    this.registry.unregister(watched)
  }

  private spacing(): number {
    return this.level === 'all' ? 0 : this.level === 'sampled' ? SAMPLE - 1 : NEVER
  }

  private collected({ watched, allocation }: Entry): void {
    const held = watched.isHeld()
    watched.forget()
    // What only stands here to be counted by its tag is no leak.
    if (!held || allocation === undefined) return
    const { kind, address, bytes, tag } = watched
    tell({ kind, address, bytes, tag, stack: callersIn(allocation.stack) })
  }
}

/** Checks the option `leaks`. */
export function checkLeakLevel(value: unknown, fallback: LeakLevel): LeakLevel {
  return checkChoice('leaks', value, ['off', 'sampled', 'all'], fallback)
}

/** The level where nobody has chosen one: in production, nothing is watched. */
export function defaultLeakLevel(): LeakLevel {
  return process.env.NODE_ENV === 'production' ? 'off' : 'sampled'
}

function tell(report: LeakReport): void {
  if (leaks.hasSubscribers) {
    leaks.publish(report)
    return
  }
  if (warnings >= MOST_WARNINGS) return
  warnings++
  const { kind, address, bytes, tag, stack } = report
  const what = `a ${kind} of ${bytes} bytes at ${address}${tag === undefined ? '' : ` (${tag})`}`
  const more = warnings === MOST_WARNINGS ? '; further ones are told to the channel spanheap:leak only' : ''
  emitWarning(`${what} was collected, but never given back${more}`, {
    type: 'LeakWarning',
    code: 'SPANHEAP_LEAK',
    ...(stack === undefined ? {} : { detail: `allocated\n${stack}` }),
  })
}
