// Copies a file. While one chunk is written, the system reads the next into another buffer of the pool: two
// buffers do for a file of any length, and the collector gets none of them.
//
//     node examples/copy.js FROM TO
import { open } from 'node:fs/promises'
import { BufferPool } from 'spanheap'

const [from, to] = process.argv.slice(2)
if (to === undefined) {
  console.error('usage: node examples/copy.js FROM TO')
  process.exit(2)
}

const pool = new BufferPool({ size: 256 * 1024, max: 8, tag: 'copy' })
const source = await open(from)
const target = await open(to, 'w')
const start = performance.now()
let bytes = 0
for await (const chunk of pool.read(source, { start: 0 })) {
  await pool.write(target, chunk)
  bytes += chunk.length
}
const ms = performance.now() - start
await source.close()
await target.close()
console.log(`${bytes} bytes in ${ms.toFixed(1)} ms, by ${pool.stats().buffers} buffers of ${pool.size} bytes`)
pool.close()
