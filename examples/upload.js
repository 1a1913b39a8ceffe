// Files are uploaded by HTTP, many at once, and written to disk. All uploads together have the pool's 16 buffers: who finds none
// waits, the connection isn't read meanwhile, and so memory has a bound whatever comes.
//
//     node examples/upload.js [FOLDER] [UPLOADS]
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createReadStream } from 'node:fs'
import { mkdtemp, open, rm } from 'node:fs/promises'
import { createServer, request } from 'node:http'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { BufferPool } from 'spanheap'

const FILE_BYTES = 4 * 2 ** 20
const [given, uploads = '32'] = process.argv.slice(2)
const folder = given ?? (await mkdtemp(join(tmpdir(), 'spanheap-upload-')))
const pool = new BufferPool({ size: 65536, max: 16, tag: 'uploads' })

/** What Node's HTTP has read is copied into a buffer of the pool once, and goes to the file from there. */
async function save(incoming) {
  const file = await open(join(folder, basename(incoming.url)), 'w')
  try {
    let bytes = 0
    for await (const chunk of pool.read(incoming)) {
      await pool.write(file, chunk)
      bytes += chunk.length
    }
    return bytes
  } finally {
    await file.close()
  }
}

const server = createServer(async (incoming, response) => {
  try {
    response.end(`${await save(incoming)}\n`)
  } catch (error) {
    response.writeHead(500).end(`${error.message}\n`)
  }
})
server.listen(0, '127.0.0.1')
await once(server, 'listening')

async function upload(name, contents) {
  const outgoing = request({ port: server.address().port, host: '127.0.0.1', method: 'PUT', path: `/${name}` })
  outgoing.end(contents)
  const [response] = await once(outgoing, 'response')
  response.resume()
  await once(response, 'end')
  if (response.statusCode !== 200) throw new Error(`upload of ${name}: status ${response.statusCode}`)
}

const contents = randomBytes(FILE_BYTES)
const names = Array.from({ length: Number(uploads) }, (_, number) => `upload-${number}.bin`)
const start = performance.now()
await Promise.all(names.map((name) => upload(name, contents)))
const seconds = (performance.now() - start) / 1000
server.close()

/** The SHA-256 of all that a stream holds. */
async function digest(stream) {
  const hash = createHash('sha256')
  for await (const chunk of stream) hash.update(chunk)
  return hash.digest('hex')
}
const expected = await digest([contents])
for (const name of names) {
  if ((await digest(createReadStream(join(folder, name)))) !== expected) throw new Error(`${name} differs`)
}
if (given === undefined) await rm(folder, { recursive: true })

const mib = (names.length * FILE_BYTES) / 2 ** 20
const { buffers, bytes } = pool.stats()
console.log(
  `${names.length} uploads, ${mib} MiB, ${Math.round(mib / seconds)} MiB a second, through ${buffers} buffers: ${bytes} bytes`
)
pool.close()
