/**
 * Prints how many garbage collections ten million writes and reads bring on, of integers that are small to V8: others it boxes for each call
 * that it doesn't inline.
 */
import { BufferReader, BufferWriter, Heap } from '../../lib/index.ts'
import { collectionsDuring } from '../support/collections.ts'

const ROUNDS = 20_000
const heap = new Heap({ limitBytes: 2 ** 28 })
const bytes = Buffer.alloc(20, 7)
const writer = new BufferWriter({ heap })
const message = new BufferWriter({ heap })
write(message)
const lease = message.finish()
const reader = new BufferReader(lease)

function write(to: BufferWriter): void {
  for (let i = 0; i < 100; i++) {
    to.writeUInt32LE(i * 4_000_000)
    to.writeVarint(i * 7919)
    to.writeInt16BE(-i)
    to.writeVarintString('a text')
    to.writeVarintBytes(bytes)
  }
}

let last = 0
function read(): void {
  reader.seek(0)
  for (let i = 0; i < 100; i++) {
    last = reader.readUInt32LE() ^ reader.readVarint() ^ reader.readInt16BE()
    reader.skip(7 + 21)
  }
}

function run(rounds: number): void {
  for (let round = 0; round < rounds; round++) {
    write(writer)
    writer.reset()
    read()
  }
}

for (let i = 0; i < 50; i++) run(50) // compiled by then
const collections = await collectionsDuring(() => run(ROUNDS))
process.stdout.write(last === 0 ? 'wrong' : String(collections))
