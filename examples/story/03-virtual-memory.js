// Addresses cost nothing, pages do: what is reserved, what is mapped and what is resident, step by step.
//
//     node examples/story/03-virtual-memory.js [MEBIBYTES]
import { Heap } from 'spanheap'
import { integerArgument } from './arguments.js'

const MIB = 2 ** 20
const SYSTEM_PAGE = 4096
const bytes = integerArgument('MEBIBYTES', { standard: 64, least: 2, most: 1024 }) * MIB

// By itself a heap gives back a little after enough frees. Not here, so that the steps are apart.
const heap = new Heap({ limitBytes: 16 * bytes, releaseRate: 0 })

const mebibytes = (count) => (count === null ? '?' : (count / MIB).toFixed(0)).padStart(8)
function show(what) {
  const { reservedBytes, mappedBytes } = heap.stats()
  console.log(`${what.padEnd(44)}${[reservedBytes, mappedBytes, heap.residentBytes()].map(mebibytes).join(' ')}`)
}

/** Writes one byte in each page, and tells what that took. The process has page faults of its own meanwhile. */
function touch(view) {
  const faults = process.resourceUsage().minorPageFault
  const resident = heap.residentBytes()
  const start = process.hrtime.bigint()
  for (let at = 0; at < view.length; at += SYSTEM_PAGE) view[at] = 1
  const ns = Number(process.hrtime.bigint() - start) / (view.length / SYSTEM_PAGE)
  return {
    ns: ns.toFixed(0),
    faults: process.resourceUsage().minorPageFault - faults,
    pages: (heap.residentBytes() - resident) / SYSTEM_PAGE,
  }
}

console.log(`${'MiB'.padEnd(44)}${['reserved', 'mapped', 'resident'].map((head) => head.padStart(8)).join(' ')}`)
show('a new heap')
const address = heap.malloc(bytes)
show(`a block of ${bytes / MIB} MiB`)
const half = heap.view(address, bytes / 2)
touch(new Uint8Array(SYSTEM_PAGE)) // so that the code is there
const first = touch(half)
show('one byte written in each page of a half')
const second = touch(half)
show('written once more')
half[SYSTEM_PAGE - 1] = 42 // in a page whose first byte alone is written to
heap.free(address)
show('freed')
const given = heap.releaseFreeMemory()
show(`${given / MIB} MiB given back`)
const again = heap.view(heap.malloc(bytes), bytes)
show('the same size once more')
const third = touch(again.subarray(0, bytes / 2))
show('the half written to again')

const pages = bytes / 2 / SYSTEM_PAGE
console.log(`\none byte written in each of ${pages} pages of ${SYSTEM_PAGE} bytes`)
for (const [when, { ns, faults, pages }] of [
  ['for the first time', first],
  ['once more', second],
  ['after the release', third],
]) {
  console.log(`  ${when.padEnd(19)}${String(pages).padStart(5)} pages came, ~${faults} page faults, ${ns} ns a byte`)
}
console.log(
  `what was 42 before the release reads ${again[SYSTEM_PAGE - 1]}: a page that comes anew is zero, at the address that it had`
)
const { syscalls } = heap.stats()
console.log(`system calls in all: mmap ${syscalls.mmap}, madvise ${syscalls.madvise}`)
heap.close()
