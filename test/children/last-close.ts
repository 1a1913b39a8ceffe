// Strikes this thread at points of a heap's last close, after which it `dies` or `lives` and closes the heap again; reports the address ranges
// that the process has before and after. A process of its own, since other tests make heaps too.
import { readFileSync } from 'node:fs'
import type { Heap } from '../../lib/index.ts'
import { type Addon, loadAddon } from '../../lib/os/addon.ts'
import { residentBytesOf } from '../../lib/os/resident.ts'
import { random } from '../support/churn.ts'
import { collectGarbage } from '../support/garbage.ts'
import { chosenPoints, countPoints, die, expect, loadStrikable, strikeAt } from '../support/strikes.ts'

const MIB = 2 ** 20

const dies = process.argv[2] === 'dies'
const library = await loadStrikable(`strike-last-close-${process.argv[2]}`)

/** A heap over real memory, of which 8 MiB are resident, and whose tables have all kinds of content. */
function open() {
  const heap = new library.Heap({ limitBytes: 32 * MIB, leaks: 'off' })
  heap.share()
  const pool = new library.BufferPool({ heap, size: 1000, trimMs: 0 })
  pool.release(pool.acquire())
  for (let i = 0; i < 8; i++) heap.view(heap.malloc(MIB)).fill(1)
  heap.free(heap.malloc(100))
  return heap
}

/** Address ranges of this process that only the library makes: of more than 32 MiB. */
const ranges = () =>
  readFileSync('/proc/self/maps', 'utf8')
    .split('\n')
    .map((line) => line.split(/[- ]/).slice(0, 2))
    .filter(([from, to]) => Number.parseInt(to!, 16) - Number.parseInt(from!, 16) > 32 * MIB).length

/** The addresses of a heap's memory and tables. */
function rangesOf(heap: Heap) {
  const addon = loadAddon() as Addon
  return [heap.buffer, heap[library.HOST].tiers.tables.mapping.buffer as SharedArrayBuffer].map((buffer) => {
    const { address, length } = addon.adopt(buffer)!
    return { start: address, end: address + length }
  })
}

const whole = open()
const total = countPoints(() => whole.close())
await collectGarbage()
const before = ranges()
let struck = 0
function end(n: number): void {
  const heap = open()
  const mapped = rangesOf(heap)
  if (!strikeAt(n, () => heap.close())) return
  struck++
  if (dies) {
    die(heap)
    return
  }
  heap.close()
  const resident = residentBytesOf(mapped)!
  expect(resident <= MIB / 4, `point ${n}: ${resident} bytes are resident`)
}
for (const n of chosenPoints(total, random(3))) end(n)
// All of the end, where the memory goes back.
for (let n = total - 50; n < total; n++) end(n)
// Another heap's slow path mends what this thread was struck with last, and lets go of that heap.
open().close()
for (let tries = 0; tries < 20 && ranges() > before + 2; tries++) await collectGarbage()
process.stdout.write(`${JSON.stringify({ struck, total, before, after: ranges() })}\n`)
