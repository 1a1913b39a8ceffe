// Uploads files of 50 KB to 1 MB, eight at a time, and compares what the server says of each: node clients.js PORT UPLOADS
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { Agent, request } from 'node:http'
import { json } from 'node:stream/consumers'

const [port, uploads] = process.argv.slice(2).map(Number)
const AT_ONCE = 8
const [LEAST, MOST] = [50_000, 1_000_000]
/** Files are parts of this, so that the clients have little to do. */
const bytes = Buffer.allocUnsafe(MOST)
for (let i = 0, seed = 1; i < MOST; i++) {
  seed = (Math.imul(seed, 1103515245) + 12345) >>> 0
  bytes[i] = seed >>> 16
}
const FILES = 16
const files = Array.from({ length: FILES }, (_, n) =>
  bytes.subarray(0, LEAST + Math.floor(((MOST - LEAST) * n) / FILES))
)
const hashes = files.map((file) => createHash('sha1').update(file).digest('hex'))

const BOUNDARY = 'a-line-between-parts'
const head = Buffer.from(
  `--${BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="file.bin"\r\nContent-Type: application/octet-stream\r\n\r\n`
)
const tail = Buffer.from(`\r\n--${BOUNDARY}--\r\n`)
const agent = new Agent({ keepAlive: true })

async function upload(number) {
  const file = files[number]
  const headers = {
    'content-type': `multipart/form-data; boundary=${BOUNDARY}`,
    'content-length': head.length + file.length + tail.length,
  }
  const outgoing = request({ port, host: '127.0.0.1', agent, method: 'POST', path: '/upload', headers })
  outgoing.write(head)
  outgoing.write(file)
  outgoing.end(tail)
  const [response] = await once(outgoing, 'response')
  const { sha1, size } = await json(response)
  if (size !== file.length || sha1 !== hashes[number]) throw new Error(`upload ${number}: ${size} bytes, ${sha1}`)
  return size
}

let [next, sum] = [0, 0]
await Promise.all(
  Array.from({ length: AT_ONCE }, async () => {
    while (next < uploads) {
      const size = await upload(next++ % FILES)
      sum += size
    }
  })
)
process.send({ bytes: sum })
agent.destroy()
process.disconnect()
