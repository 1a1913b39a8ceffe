// Fills a heap with so many bytes of small and large blocks, writes to all of them, frees them and releases what is free;
// reports how much was resident, of the objects and of the tables apart, at each step: `memory-returns.js BYTES`.
import { Heap } from '../../lib/index.ts'
import { openMapper } from '../../lib/os/open-mapper.ts'
import { type AddressRange, residentBytesOf } from '../../lib/os/resident.ts'

/** Resident bytes. */
export interface Resident {
  objects: number
  tables: number
}

export interface MemoryReturnsReport {
  fresh: Resident
  full: Resident
  freed: Resident
  released: Resident
  /** What `releaseFreeMemory` said that it gave back. */
  given: number
  mappedBytes: number
  liveBytes: number
}

const TOUCH_STRIDE = 64

/** Nearly half of the bytes in blocks of up to 1 KB, the rest in few large ones. */
function sizeOf(block: number): number {
  if (block % 10_000 === 0) return 3_000_000
  if (block % 1000 === 0) return 200_000
  if (block % 100 === 0) return 20_000
  return 16 + ((block * 7919) % 1000)
}

const mapper = openMapper({})
const heap = new Heap({ mapper })
const bytes = Number(process.argv[2])
// The mapper keeps the two mappings apart, the heap itself only tells their sum. They were made in this order.
const { ranges } = mapper as unknown as { ranges: [AddressRange, AddressRange] }

function resident(): Resident {
  return { objects: residentBytesOf([ranges[0]])!, tables: residentBytesOf([ranges[1]])! }
}

const fresh = resident()
const addresses: number[] = []
const memory = new Uint8Array(heap.buffer, 0, Math.min(heap.buffer.byteLength, 2 ** 32))
let live = 0
for (let i = 0; live < bytes; i++) {
  const size = sizeOf(i)
  const address = heap.malloc(size)
  for (let at = address; at < address + size; at += TOUCH_STRIDE) memory[at] = 1
  addresses.push(address)
  live += size
}
const full = resident()
// Those that came later among the first: neighbours are freed at different times.
for (let i = 0; i < addresses.length; i += 2) heap.free(addresses[i]!)
for (let i = 1; i < addresses.length; i += 2) heap.free(addresses[i]!)
const freed = resident()
const given = heap.releaseFreeMemory()
const released = resident()
heap.audit()
const { mappedBytes, liveBytes } = heap.stats()
const report: MemoryReturnsReport = { fresh, full, freed, released, given, mappedBytes, liveBytes }
process.stdout.write(`${JSON.stringify(report)}\n`)
