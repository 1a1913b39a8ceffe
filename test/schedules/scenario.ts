import type * as Library from '../../lib/index.ts'
import type { HOST } from '../../lib/lifetime/host.ts'
import { Granule, Page } from '../../lib/memory/page.ts'
import type { GrowableMapper } from '../../lib/os/growable-mapper.ts'
import { generateSizeClasses } from '../../lib/tcmalloc/size-class.ts'
import { STRUCK } from './steps.ts'

/** The instrumented library: the public one, and the way to a heap's parts. */
export type Lib = typeof Library & {
  HOST: typeof HOST
  GrowableMapper: typeof GrowableMapper
  /** Tells another thread a number other than 0, as by a message. */
  tell(flags: Int32Array, value: number): void
  /** Waits for the number that another thread tells; 0 if that thread was struck. */
  hear(flags: Int32Array): number
  /** A thread's part with the heap attached, `objects` times (1). */
  attached(token: Library.HeapToken, objects?: number): Part
}
export type Heap = Library.Heap

/** A thread's part in a run. */
export interface Part {
  /** The heaps that this thread has open, by all their objects. Its death is one of each. */
  heaps: Heap[]
  blocks: Blocks
}

/** A few threads that use one thing at once. */
export interface Scenario<Setup = unknown, Told = unknown, Own extends Part = Part> {
  /** What it is about, in the words of the unit that it specifies. */
  name: string
  threads: number
  options?: Library.HeapOptions
  /** Made by the controller, which keeps the heap open. */
  setup?: (lib: Lib, heap: Heap) => Setup
  /** What each thread is told, as a message. */
  tell?: (setup: Setup) => Told
  /** Done in each thread before steps count; without it, a thread attaches to the heap. `thread` is from 0. */
  prepare?: (lib: Lib, token: Library.HeapToken, told: Told, thread: number) => Own
  /** After that, by the controller. */
  prepared?: (lib: Lib, heap: Heap, setup: Setup) => void
  /** What a thread does while its steps are scheduled. Its result goes to `check`. */
  run: (part: Own, told: Told, thread: number, lib: Lib) => unknown
  /** What a thread that was struck and lives on does next. Without it, it allocates, frees and audits. */
  goOn?: (part: Own, told: Told, thread: number, lib: Lib) => void
  /** Errors' codes that a thread may end with. */
  refusals?: readonly string[]
  /** What must hold once all have ended. The audit, the locks and the live bytes are looked at in any case. */
  check?: (ends: Ends<Setup>) => void
  /** Frees what the setup has made. After that nothing but blocks may be live. */
  cleanUp?: (lib: Lib, heap: Heap, setup: Setup) => void
  /** A thread that is struck and lives may never get the heap that it attached: then its slot stays until it ends. */
  mayKeepSlots?: true
  /** It does what a program may not do. A thread that is struck meanwhile can't be made good, and so none is. */
  breaksRules?: true
  /** Other heaps that the threads have open. */
  others?: (setup: Setup) => Heap[]
}

/** How a run ended. */
export interface Ends<Setup> {
  lib: Lib
  heap: Heap
  setup: Setup
  /** What each thread returned; undefined for one that was struck. */
  results: unknown[]
  /** What each thread has allocated and not freed. */
  held: number[]
  /** Whether any thread was struck. */
  isStruck: boolean
}

export const attached = (lib: Lib, token: Library.HeapToken, objects = 1): Part => ({
  heaps: Array.from({ length: objects }, () => lib.Heap.attach(token, { leaks: 'off' })),
  blocks: new Blocks(),
})

/** Lets TypeScript infer a scenario's types, and forgets them. */
export const scenario = <Setup, Told, Own extends Part>(one: Scenario<Setup, Told, Own>): Scenario =>
  one as unknown as Scenario

/** Makes an attempt which another thread may have brought to end with an error of these codes. */
export function unlessRefused(codes: readonly string[], attempt: () => void): void {
  try {
    attempt()
  } catch (error) {
    if (!codes.includes((error as { code?: string }).code ?? '')) throw error
  }
}

const CLASSES = generateSizeClasses()

/** The usable bytes of a block that is allocated for `size` bytes. */
export function usableBytes(size: number): number {
  const found = CLASSES.find((sizeClass) => sizeClass.size >= Math.max(size, Granule.Bytes))
  return found?.size ?? Math.ceil(size / Page.Bytes) * Page.Bytes
}

/**
 * The blocks that a thread has, told exactly: a call that was cut short by a strike has happened or hasn't, and nothing else may be left of
 * it.
 */
export class Blocks {
  readonly held: { address: number; bytes: number }[] = []
  /** For each call that was cut short, by how much it may have raised the live bytes. */
  readonly maybes: number[][] = []

  malloc(heap: Heap, size: number): number {
    return this.attempt([0, usableBytes(size)], () => this.hold(heap, heap.malloc(size)))
  }

  calloc(heap: Heap, size: number): number {
    return this.attempt([0, usableBytes(size)], () => this.hold(heap, heap.calloc(1, size)))
  }

  free(heap: Heap, address: number): void {
    const bytes = this.drop(address)
    this.attempt([0, bytes], () => heap.free(address))
  }

  realloc(heap: Heap, address: number, size: number): number {
    const bytes = this.drop(address)
    const after = usableBytes(size)
    return this.attempt([bytes, after, bytes + after], () => this.hold(heap, heap.realloc(address, size)))
  }

  /** Several mallocs. */
  many(heap: Heap, count: number, size: number): number[] {
    return Array.from({ length: count }, () => this.malloc(heap, size))
  }

  hold(heap: Heap, address: number): number {
    this.held.push({ address, bytes: heap.usableSize(address) })
    return address
  }

  /** Takes a block out of the account. Returns its bytes. */
  drop(address: number): number {
    const at = this.held.findIndex((block) => block.address === address)
    return at < 0 ? 0 : this.held.splice(at, 1)[0]!.bytes
  }

  /** Makes a call which, if it is cut short, raises the live bytes by one of these amounts. */
  attempt<T>(raises: number[], call: () => T): T {
    this.maybes.push(raises)
    try {
      const result = call()
      this.maybes.pop()
      return result
    } catch (error) {
      if (error !== STRUCK) this.maybes.pop()
      throw error
    }
  }
}
