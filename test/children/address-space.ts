// Heaps where addresses are short: as many as the first argument says are opened, or opened and closed.
import { readFileSync } from 'node:fs'
import { Heap } from '../../lib/index.ts'

const [what, count, limit] = process.argv.slice(2)
const limitBytes = limit === undefined ? {} : { limitBytes: Number(limit) }
const addresses = () => Number(/VmSize:\s+(\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))![1]) * 1024

if (what === 'open') {
  const before = addresses()
  const reserved: number[] = []
  for (let i = 0; i < Number(count); i++) {
    const heap = new Heap()
    const large = heap.malloc(10 * 2 ** 20)
    reserved.push(heap.stats().reservedBytes)
    // As another thread does, which only knows the length of the tables.
    const attached = Heap.attach(heap.share())
    for (const address of [2 ** 30, 2 ** 31 - 16, large + 16]) {
      try {
        attached.free(address)
      } catch (error) {
        if ((error as { code?: string }).code !== 'ERR_HEAP_INVALID_ADDRESS') throw error
        continue
      }
      throw new Error(`${address} was freed`)
    }
    attached.free(large)
    heap.audit()
    attached.close()
  }
  process.stdout.write(JSON.stringify({ reserved, taken: addresses() - before }))
} else {
  let mostMappings = 0
  const open: Heap[] = []
  for (let i = 0; i < Number(count); i++) {
    const heap = new Heap({ ...limitBytes, leaks: 'off' })
    heap.free(heap.malloc(100))
    open.push(heap)
    if (open.length > 5) open.shift()!.close()
    if (i % 100 === 0)
      mostMappings = Math.max(mostMappings, readFileSync('/proc/self/maps', 'latin1').split('\n').length)
  }
  process.stdout.write(JSON.stringify({ mostMappings, addresses: addresses() }))
}
