// The same by a BufferWriter. It takes a copy of each record at once, so one encoder with one buffer does for all: `encodeSharedRef`.
//
//     node examples/recipes/messages/after.js [RECORDS] [FILE]
import { createWriteStream } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { createDeflate } from 'node:zlib'
import { Encoder } from '@msgpack/msgpack'
import { BufferWriter } from 'spanheap'

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

const [encoder, writer] = [new Encoder(), new BufferWriter({ sizeHint: 128 << 10 })]
async function* batches() {
  for (let id = 0; id < records; ) {
    for (let end = id + 500; id < end; id++) writer.writeBytes(encoder.encodeSharedRef(record(id)))
    const batch = writer.finish()
    yield batch.buffer
    batch.release()
  }
}
// Each write waits until deflate has taken the batch, and only then the generator goes on, and releases it.
const deflate = createDeflate({ level: 1, writableHighWaterMark: 0 })
await pipeline(batches, deflate, createWriteStream(file ?? join(folder, 'records.z')))
console.log(`${records} records, ${deflate.bytesWritten} bytes`)
await rm(folder, { recursive: true })
