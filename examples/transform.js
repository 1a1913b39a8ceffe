// A file goes through a Transform into another one, and every chunk stays in the buffer that the system has read it into. What the
// streams pass on are leases: a Buffer alone wouldn't say when its reader is done with it. The pool has at most eight buffers. When all are on
// their way, reading waits until the last stream has written one: so backpressure comes from the pool, too.
//
//     node examples/transform.js [FROM TO]
import { mkdtemp, open, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable, Transform, Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { BufferPool } from 'spanheap'

const pool = new BufferPool({ size: 65536, max: 8, tag: 'transform' })

/** Chunks of a file, each with its lease, which whoever gets it releases. */
async function* chunksOf(file) {
  for await (const bytes of pool.read(file)) yield { bytes, lease: pool.leaseOf(bytes).retain() }
}

/** Makes a letter a to z the one 13 further, in place. */
const rot13 = new Transform({
  objectMode: true,
  transform({ bytes, lease }, _encoding, done) {
    for (let i = 0; i < bytes.length; i++) {
      const letter = (bytes[i] | 32) - 97
      if (letter >= 0 && letter < 26) bytes[i] += letter < 13 ? 13 : -13
    }
    done(null, { bytes, lease })
  },
})

/** Writes what it gets to a file, and releases it. */
function writerOf(file) {
  return new Writable({
    objectMode: true,
    async write({ bytes, lease }, _encoding, done) {
      try {
        await pool.write(file, bytes)
        done()
      } catch (error) {
        done(error)
      } finally {
        lease.release()
      }
    },
  })
}

const folder = await mkdtemp(join(tmpdir(), 'spanheap-transform-'))
const given = process.argv.slice(2)
const [from, to] = given.length === 2 ? given : [join(folder, 'from'), join(folder, 'to')]
if (given.length !== 2) await writeFile(from, 'Hello, World!\n'.repeat(2 ** 20))
const source = await open(from)
const target = await open(to, 'w')
const start = performance.now()
await pipeline(Readable.from(chunksOf(source)), rot13, writerOf(target))
const ms = performance.now() - start
const { size } = await target.stat()
await source.close()
await target.close()
await rm(folder, { recursive: true })
const { buffers, idle } = pool.stats()
console.log(`${size} bytes in ${ms.toFixed(1)} ms, by ${buffers} buffers, of which ${idle} are idle again`)
pool.close()
