import { channel } from 'node:diagnostics_channel'
import { checkChoice } from '../base/arguments.ts'
import { callersIn, callStack } from '../base/call-stack.ts'
import { emitWarning } from '../base/warning.ts'

/** The share of buffers that are watched: none, one in 8192, or all. */
export type LeakLevel = 'off' | 'sampled' | 'all'

/** At the level `sampled` one of so many is watched: recording a stack and watching takes about 27 µs, so 3 ns for each buffer. */
const SAMPLE = 8192
/** A small integer to V8, yet too large to be counted down to 0. */
const NEVER = 2 ** 30
/** The most leaks of one thread that are printed; the channel gets all. */
const MOST_WARNINGS = 10

/** The report of a buffer or a lease that was collected before it was given back. */
export interface LeakReport {
  /** Whether a heap's buffer or a pool's lease has leaked. */
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

/** Something watched, which must be given back while it is held. */
export interface Watched {
  readonly kind: LeakReport['kind']
  readonly address: number
  readonly bytes: number
  readonly tag: string | undefined
  /** Whether it is still held: not given back in any way by any thread. */
  isHeld(): boolean
  /** Drops its record: it was given back, or never will be. */
  forget(): void
}

/** A {@link LeakReport} for each leak of this thread. If the channel has no subscriber, the first ten are process warnings. */
const leaks = channel('spanheap:leak')
let warnings = 0

interface Entry {
  readonly watched: Watched
  /** Its allocation stack, if a leak of it is to be reported. */
  readonly allocation: { readonly stack: string | undefined } | undefined
}

/**
 * Reports objects that are collected before they were given back. It has the cost of a FinalizationRegistry, so it watches only a sample of
 * all buffers, unless the program asks for more.
 */
export class LeakWatch {
  /** The buffers until the next one to watch, counted down by the usual path. Always 0 if every buffer is watched. */
  untilWatched: number
  private readonly level: LeakLevel
  private readonly registry: FinalizationRegistry<Entry>

  constructor(level: LeakLevel) {
    this.level = level
    this.untilWatched = this.spacing()
    this.registry = new FinalizationRegistry((entry) => this.collected(entry))
  }

  /** Keeps the usual path from allocating buffers. */
  seal(): void {
    this.untilWatched = 0
  }

  /** Counts a buffer. True if it is to be watched, and reported if it leaks. */
  next(): boolean {
    if (this.untilWatched-- > 0) return false
    this.untilWatched = this.spacing()
    return this.level !== 'off'
  }

  /** Whether any leak is reported. */
  get isOn(): boolean {
    return this.level !== 'off'
  }

  /** Watches `watched` by the life of `holder`, which must not be reachable from it. @param noted whether its leak is reported */
  watch(holder: object, watched: Watched, noted: boolean): void {
    this.registry.register(holder, { watched, allocation: noted ? { stack: callStack() } : undefined }, watched)
  }

  /** Stops watching something that was given back. */
  unwatch(watched: Watched): void {
    this.registry.unregister(watched)
  }

  private spacing(): number {
    return this.level === 'all' ? 0 : this.level === 'sampled' ? SAMPLE - 1 : NEVER
  }

  private collected({ watched, allocation }: Entry): void {
    const held = watched.isHeld()
    watched.forget()
    // Objects that are watched only to be counted by their tags aren't reported.
    if (!held || allocation === undefined) return
    const { kind, address, bytes, tag } = watched
    tell({ kind, address, bytes, tag, stack: callersIn(allocation.stack) })
  }
}

/** Checks the option `leaks`. */
export function checkLeakLevel(value: unknown, fallback: LeakLevel): LeakLevel {
  return checkChoice('leaks', value, ['off', 'sampled', 'all'], fallback)
}

/** The default level: in production nothing is watched. */
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
