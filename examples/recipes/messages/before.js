// Records are packed by @msgpack/msgpack, and batches of 500 go through deflate to a file.
//
//     node examples/recipes/messages/before.js [RECORDS] [FILE]
import { createWriteStream } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { createDeflate } from 'node:zlib'
import { encode } from '@msgpack/msgpack'

const [records = '500000', file] = process.argv.slice(2)
const folder = await mkdtemp(join(tmpdir(), 'spanheap-messages-'))

const record = (id) => ({
  id,
  name: `user ${id % 997}`,
  tags: ['a', 'bb', `t${id % 17}`],
  at: 1.7e12 + id,
  ok: id % 3 === 0,
  text: 'lorem ipsum dolor sit amet '.repeat(1 + (id % 8)),
})

async function* batches() {
  for (let id = 0; id < records; ) {
    const parts = []
    for (let end = id + 500; id < end; id++) parts.push(encode(record(id)))
    yield Buffer.concat(parts)
  }
}
const deflate = createDeflate({ level: 1 })
await pipeline(batches, deflate, createWriteStream(file ?? join(folder, 'records.z')))
console.log(`${records} records, ${deflate.bytesWritten} bytes`)
await rm(folder, { recursive: true })
