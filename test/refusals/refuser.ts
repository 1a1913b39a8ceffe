import { constants } from 'node:os'
import { type Allocator, AllocatorError } from '../../lib/index.ts'
import { isAddon, loadAddon } from '../../lib/os/addon.ts'
import type { Mapper } from '../../lib/os/mapper.ts'
import { SimulatedMapper } from '../../lib/testing/index.ts'

/** What is refused. */
export type Kind = 'system call' | 'malloc' | 'typed array' | 'limit'

/** Refuses one call of a kind: the k-th, and none before or after it. */
export class Refuser {
  readonly kind: Kind
  /** Calls of the kind so far. */
  calls = 0
  /** Whether it has refused one since this was last set to false. */
  hasRefused = false
  private readonly refused: number

  /** @param refused the number of the call, from 1 */
  constructor(kind: Kind, refused: number) {
    this.kind = kind
    this.refused = refused
  }

  /** Counts a call. Whether it is the one to refuse. */
  refuses(kind: Kind): boolean {
    if (kind !== this.kind) return false
    this.calls++
    if (this.calls !== this.refused) return false
    this.hasRefused = true
    return true
  }

  /** Whether an error may come of a refusal of this kind. */
  hasCaused(error: unknown): boolean {
    if (this.kind === 'typed array' && error instanceof RangeError) return error.message === NO_ROOM
    return error instanceof AllocatorError && error.code === 'ERR_HEAP_OUT_OF_MEMORY'
  }

  /** A system of which it refuses calls. */
  mapper(): Mapper {
    const { refuses } = this
    const count = refuses.bind(this, 'system call')
    class Refusing extends SimulatedMapper {
      override record(...[call, address, length, tooMuch]: Parameters<SimulatedMapper['record']>): number {
        return super.record(call, address, length, tooMuch === true || count())
      }
    }
    return new Refusing()
  }

  /** Refuses calls of a heap's malloc, and of the others of its kind. */
  stand(heap: Allocator): void {
    for (const name of ['malloc', 'calloc', 'realloc', 'alignedAlloc'] as const) {
      const call = heap[name].bind(heap) as (first: number, second: number) => number
      const value = (first: number, second: number) => {
        if (this.refuses('malloc')) throw new AllocatorError('ERR_HEAP_OUT_OF_MEMORY', 'refused by the test')
        return call(first, second)
      }
      Object.defineProperty(heap, name, { value, configurable: true })
    }
  }

  /** Runs something while the addon's system calls, and arrays of V8's own, are counted, and one is refused. */
  async during(run: () => Promise<void>): Promise<void> {
    const before: [object: Record<string, unknown>, name: string, value: unknown][] = []
    const replace = (object: object, name: string, make: (value: never) => unknown) => {
      const holder = object as Record<string, unknown>
      before.push([holder, name, holder[name]])
      holder[name] = make(holder[name] as never)
    }
    if (this.kind === 'typed array')
      for (const name of ARRAYS) replace(globalThis, name, (array: typeof Int32Array) => this.refusing(array))
    const addon = loadAddon()
    if (this.kind === 'system call' && isAddon(addon)) {
      for (const [name, refused] of ADDON_CALLS)
        replace(addon, name, (call: (...args: unknown[]) => unknown) => (...args: unknown[]) => {
          return this.refuses('system call') ? refused : call.apply(addon, args)
        })
    }
    try {
      await run()
    } finally {
      for (const [object, name, value] of before) object[name] = value
    }
  }

  /** A class of arrays of which it refuses such as need memory of their own. */
  private refusing(array: typeof Int32Array): typeof Int32Array {
    return new Proxy(array, {
      construct: (target, args: unknown[], newTarget) => {
        if (typeof args[0] === 'number' && this.refuses('typed array')) throw new RangeError(NO_ROOM)
        return Reflect.construct(target, args, newTarget)
      },
    })
  }
}

/** What the library has of V8's own memory. */
const ARRAYS = ['Int32Array', 'Uint32Array', 'Float64Array', 'Int8Array']

/** The addon's system calls that can be refused, and what they return then. */
const ADDON_CALLS = [
  ['reserve', constants.errno.ENOMEM],
  ['grow', constants.errno.ENOMEM],
  ['release', constants.errno.ENOMEM],
  ['map', -constants.errno.ENOMEM],
  ['unmap', constants.errno.ENOMEM],
] as const

/** What V8 says. */
const NO_ROOM = 'Array buffer allocation failed'
