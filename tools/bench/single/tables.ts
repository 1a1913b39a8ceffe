/**
 * What the tables take: resident bytes of a new heap's, and what they grow by over the peak of what is mapped, for each trace
 * with its blocks written to. A process for each.
 *
 *     node dist/tools/bench/single/tables.js
 */

import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import Table from 'cli-table3'
import { Heap, type Mapper, type Mapping, type Reservation } from 'spanheap'
import { openMapper } from 'spanheap/testing'
import { heapPlayer, touchThrough } from '../../trace/player.ts'
import { shippedTrace } from '../../trace/shipped.ts'
import { readTrace } from '../../trace/trace.ts'
import { TRACES } from '../framework/peers.ts'

/** Two native mappers behind one: the first reservation is the heap's memory, the second its tables. */
class SplitMapper implements Mapper {
  private readonly memory: Mapper
  private readonly tables: Mapper
  private reservations = 0
  readonly name = 'native'
  readonly canRelease = true
  readonly releaseZeroes = true
  readonly systemPageSize: number
  readonly guardBytes: number
  readonly maxAlignment: number

  constructor() {
    this.memory = openMapper({})
    this.tables = openMapper({})
    if (this.memory.name !== 'native') throw new Error('there is no addon')
    this.systemPageSize = this.memory.systemPageSize
    this.guardBytes = this.memory.guardBytes
    this.maxAlignment = this.memory.maxAlignment
  }

  reserve(reservation: Reservation): Mapping | number {
    return (this.reservations++ === 0 ? this.memory : this.tables).reserve(reservation)
  }

  adopt(): undefined {
    return undefined
  }

  syscalls() {
    return this.tables.syscalls()
  }

  ring() {
    return this.tables.ring()
  }

  residentBytes(): number | null {
    return this.tables.residentBytes()
  }

  flush(): void {
    this.tables.flush()
  }
}

const trace = process.argv[2]
if (trace !== undefined) {
  const heap = new Heap({ limitBytes: 2 ** 31 - 2 ** 20, mapper: new SplitMapper() })
  const fixed = heap.residentBytes()
  const loaded = readTrace(shippedTrace(trace))
  const player = heapPlayer(loaded, heap, touchThrough(heap, heap.buffer), true)
  player.play(0, loaded.events)
  player.freeAll()
  console.log(JSON.stringify({ fixed, grown: heap.residentBytes()! - fixed!, mapped: heap.stats().peakMappedBytes }))
} else {
  const rows = new Table({
    head: ['trace', 'fixed', 'grown', 'peak mapped', 'grown / mapped'],
    style: { head: [], border: [] },
  })
  for (const name of TRACES) {
    const output = execFileSync(process.execPath, [fileURLToPath(import.meta.url), name], { encoding: 'utf8' })
    const { fixed, grown, mapped } = JSON.parse(output) as { fixed: number; grown: number; mapped: number }
    const kib = (bytes: number) => `${(bytes / 1024).toFixed(0)} KiB`
    rows.push([name, kib(fixed), kib(grown), kib(mapped), `${((100 * grown) / mapped).toFixed(1)} %`])
  }
  console.log(rows.toString())
}
