import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import test from 'ava'
import { LeakWatch } from '../../lib/buffers/leak-watch.ts'
import { Heap } from '../../lib/heap/heap.ts'
import { Attachment } from '../../lib/heap/heap-options.ts'
import { openMapper } from '../../lib/os/open-mapper.ts'
import { TCMalloc } from '../../lib/tcmalloc/tcmalloc.ts'

/**
 * What each operation takes on its usual path. These are the product's speed, so they are written down: a change that needs
 * one load more has to say so here. Loads and stores are of the heap's tables; words are those of the block itself.
 */
const GOLDEN = {
  malloc: { loads: 4, stores: 2 },
  free: { loads: 4, stores: 3 },
  'realloc in place': { loads: 3, stores: 0 },
  'realloc that moves': { loads: 11, stores: 5 },
  'calloc(1, 64)': { loads: 4, stores: 2 },
}

interface Counts {
  loads: number
  stores: number
}

/** Stands in for a typed array and counts what is done to it. */
function counted<T extends Int8Array | Int32Array>(array: T, counts: Counts): T {
  return new Proxy(array, {
    get: (target, key) => {
      if (typeof key === 'string' && /^\d+$/.test(key)) counts.loads++
      const value = Reflect.get(target, key, target) as unknown
      return typeof value === 'function' ? value.bind(target) : value
    },
    set: (target, key, value) => {
      counts.stores++
      return Reflect.set(target, key, value, target)
    },
  })
}

/** The fields through which a heap reaches its tables on the usual path. */
interface Insides {
  cache: { area: Int32Array; states: Int8Array; pageClass: Int8Array }
  tables: { states: Int8Array; pageClass: Int8Array }
  classes: { size: Int32Array }
}

function watch({ cache, tables, classes }: Insides, counts: Counts): void {
  for (const part of [cache, tables, classes]) {
    for (const [name, value] of Object.entries(part)) {
      if (value instanceof Int8Array || value instanceof Int32Array) {
        Object.assign(part, { [name]: counted(value, counts) })
      }
    }
  }
}

test.serial('loads, stores, Atomics and system calls of the usual path', (t) => {
  const mapper = openMapper({})
  const options = {
    limitBytes: 2 ** 28,
    isDefault: false,
    shared: false,
    cacheBytes: 2 ** 25,
    releaseRate: 1,
    debug: false,
  }
  const tiers = TCMalloc.create(mapper, options)
  const counts = { loads: 0, stores: 0 }
  // Before it is in a private field of the heap's.
  Object.assign(tiers, { classBySize: counted(tiers.classBySize, counts) })
  const heap = new Heap(new Attachment(mapper, tiers, new LeakWatch('off')))
  // Both classes have something in their stacks, and room.
  for (const size of [64, 128]) for (let round = 0; round < 6; round++) heap.free(heap.malloc(size))
  const warm = [64, 64, 64, 128, 128, 128].map((size) => heap.malloc(size))
  for (const address of warm) heap.free(address)
  watch(tiers as unknown as Insides, counts)
  Object.assign(counts, { loads: 0, stores: 0 })

  const calls = mapper.syscalls()
  let atomics = 0
  const original = { ...Object.getOwnPropertyDescriptors(Atomics) }
  for (const name of Object.getOwnPropertyNames(Atomics)) {
    const operation = (Atomics as unknown as Record<string, unknown>)[name]
    if (typeof operation !== 'function') continue
    Object.defineProperty(Atomics, name, {
      configurable: true,
      value: (...args: unknown[]) => {
        atomics++
        return Reflect.apply(operation, Atomics, args)
      },
    })
  }
  const measured: Record<string, Counts> = {}
  const measure = <T>(name: string, operation: () => T): T => {
    counts.loads = 0
    counts.stores = 0
    const result = operation()
    measured[name] = { ...counts }
    return result
  }
  try {
    const address = measure('malloc', () => heap.malloc(64))
    measure('realloc in place', () => heap.realloc(address, 60))
    const moved = measure('realloc that moves', () => heap.realloc(address, 128))
    measure('free', () => heap.free(moved))
    measure('calloc(1, 64)', () => heap.calloc(1, 64))
  } finally {
    Object.defineProperties(Atomics, original)
  }
  for (const [name, { loads, stores }] of Object.entries(GOLDEN)) {
    t.true(measured[name]!.loads <= loads, `${name}: ${measured[name]!.loads} loads`)
    t.true(measured[name]!.stores <= stores, `${name}: ${measured[name]!.stores} stores`)
    t.true(measured[name]!.loads > 0, `${name} was counted`)
  }
  t.is(atomics, 0)
  t.deepEqual(mapper.syscalls(), calls)
})

test('ten million pairs make no garbage: not one collection', (t) => {
  const child = fileURLToPath(new URL('../children/heap-costs.js', import.meta.url))
  const run = (kind: string) =>
    Number(execFileSync(process.execPath, ['--max-semi-space-size=1', child, kind], { encoding: 'utf8' }))
  t.is(run('heap'), 0)
  t.true(run('garbage') > 0, 'the count can be other than 0')
})
