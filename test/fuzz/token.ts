import fc from 'fast-check'
import {
  AllocatorError,
  Arena,
  BufferPool,
  Channel,
  HandleTable,
  Heap,
  type HeapToken,
  type PoolToken,
} from '../../lib/index.ts'

const MIB = 2 ** 20
/** What a wrong token may come to, beside the same as the right one. */
const REFUSALS = new Set([
  'ERR_HEAP_INVALID_TOKEN',
  'ERR_HEAP_UNSUPPORTED', // memory that this thread can't open
  'ERR_HEAP_STALE_HANDLE', // an arena that has ended
  'ERR_INVALID_ARG_TYPE',
])

/** Heaps to take tokens of: two of one size, one of another, one that is closed; and buffers that are no heap's. */
class Stage {
  readonly heap = new Heap({ limitBytes: 8 * MIB })
  readonly twin = new Heap({ limitBytes: 8 * MIB })
  readonly other = new Heap({ limitBytes: 4 * MIB })
  readonly pool = new BufferPool({ size: 1024, heap: this.heap })
  readonly channel = new Channel(this.heap, { capacity: 4 })
  readonly handles = this.heap.handles({ max: 16 })
  readonly arena = this.heap.arena()
  readonly ended = this.heap.arena()
  readonly block = this.heap.malloc(4096)
  readonly tokens: HeapToken[]
  readonly strangers: unknown[]

  constructor() {
    const closed = new Heap({ limitBytes: 8 * MIB })
    const closedToken = closed.share()
    closed.close()
    this.arena.malloc(100)
    const endedToken = this.ended.share()
    this.ended.dispose()
    this.tokens = [this.heap.share(), this.twin.share(), this.other.share(), closedToken]
    const forged = new SharedArrayBuffer(this.heap.buffer.byteLength)
    const grows = new SharedArrayBuffer(4096, { maxByteLength: 65_536 })
    this.strangers = [
      forged,
      ...[forged, grows, new SharedArrayBuffer(0)].map((buffer) => new Uint8Array(buffer, 0, 0)),
      new ArrayBuffer(64),
      this.heap.view(this.block),
      endedToken,
    ]
    // What a program writes into its own block looks like what it likes.
    this.heap.view(this.block).fill(0xff)
  }

  close(): void {
    this.heap.audit()
    this.twin.audit()
    this.other.audit()
    this.arena.dispose()
    this.handles.close()
    this.channel.close()
    this.pool.close()
    for (const heap of [this.heap, this.twin, this.other]) heap.close()
  }
}

const scalar = fc.oneof(
  fc.constantFrom<unknown>(
    0,
    -1,
    1,
    2 ** 31,
    2 ** 32,
    2 ** 53,
    -0,
    Number.NaN,
    Infinity,
    0.5,
    16n,
    null,
    undefined,
    true
  ),
  fc.constantFrom<unknown>('', 'native', 'growable', 'simulated', 'toString', {}, [], Symbol('s'), () => 1),
  fc.integer(),
  fc.nat({ max: 8 * MIB })
)

interface Change {
  readonly field: number
  readonly how: 'value' | 'token' | 'stranger' | 'remove' | 'near'
  readonly value: unknown
  readonly pick: number
}
const change: fc.Arbitrary<Change> = fc.record({
  field: fc.nat({ max: 9 }),
  how: fc.constantFrom('value' as const, 'token' as const, 'stranger' as const, 'remove' as const, 'near' as const),
  value: scalar,
  pick: fc.nat({ max: 9 }),
})

const pickOf = <T>(from: readonly T[], at: number): T => from[at % from.length]!

/** A copy of a token, one of its fields changed: to anything, to what another heap's has, to a buffer that is none's. */
function changed<T extends object>(stage: Stage, token: T, { field, how, value, pick }: Change): T {
  const copy = { ...token } as Record<string, unknown>
  const name = pickOf(Object.keys(copy), field)
  if (how === 'remove') delete copy[name]
  else if (how === 'value') copy[name] = value
  else if (how === 'stranger') copy[name] = pickOf(stage.strangers, pick)
  else if (how === 'near') copy[name] = typeof copy[name] === 'number' ? copy[name] + (pick - 5) * 16 : copy[name]
  else copy[name] = (pickOf(stage.tokens, pick) as unknown as Record<string, unknown>)[name]
  return copy as T
}

/** Attaches by a token, uses what came of it as its owner would, and closes that. */
const ATTACHING: Readonly<Record<string, (stage: Stage, changes: Change[]) => void>> = {
  heap: (stage, changes) => {
    const heap = Heap.attach(
      changes.reduce((token, one) => changed(stage, token, one), pickOf(stage.tokens, changes[0]!.pick))
    )
    const address = heap.malloc(1000)
    heap.view(address).fill(1)
    heap.free(address)
    heap.close()
  },
  pool: (stage, changes) => {
    const share = stage.pool.share()
    const inHeap = { ...share, heap: changes.slice(1).reduce((token, one) => changed(stage, token, one), share.heap) }
    const pool = BufferPool.attach(changed<PoolToken>(stage, inHeap, changes[0]!))
    pool.release(pool.acquire().fill(1))
    pool.close()
  },
  channel: (stage, changes) =>
    Channel.attach(changed(stage, stage.channel.share(), changes[0]!), { heap: stage.heap }).close(),
  handles: (stage, changes) => {
    const table = HandleTable.attach(changed(stage, stage.handles.share(), changes[0]!), { heap: stage.heap })
    const handle = table.alloc(64)
    table.view(handle).fill(1)
    table.free(handle)
    table.close()
  },
  arena: (stage, changes) =>
    void Arena.attach(changed(stage, stage.arena.share(), changes[0]!), { heap: stage.heap }).isOpen,
  anything: (stage, changes) => {
    const value = changes[0]!.value as never
    const kind = changes[0]!.field % 5
    if (kind === 0) Heap.attach(value)
    else if (kind === 1) BufferPool.attach(value)
    else if (kind === 2) Channel.attach(value, { heap: stage.heap })
    else if (kind === 3) HandleTable.attach(value, { heap: stage.heap })
    else Arena.attach(value, { heap: stage.heap })
  },
}

/** Wrong tokens are refused, right ones open what they are of; and the heaps are whole afterwards. */
export function fuzzToken(seed: number, cases: number, note: (text: string) => void): void {
  const kinds = fc.constantFrom(...Object.keys(ATTACHING))
  const changes = fc.array(change, { minLength: 1, maxLength: 3 })
  const sample = fc.sample(fc.tuple(kinds, changes), { seed, numRuns: cases })
  const stage = new Stage()
  for (const [index, [kind, wanted]] of sample.entries()) {
    note(`token, seed ${seed}, case ${index}: ${kind} ${describe(wanted)}`)
    try {
      ATTACHING[kind]!(stage, wanted)
    } catch (error) {
      const isRefusal = error instanceof AllocatorError || error instanceof TypeError
      if (!isRefusal || !REFUSALS.has((error as { code?: string }).code ?? '')) throw error
    }
  }
  stage.close()
}

function describe(changes: readonly Change[]): string {
  return changes.map(({ field, how, pick, value }) => `${field} ${how} ${pick} ${String(value)}`).join('; ')
}
