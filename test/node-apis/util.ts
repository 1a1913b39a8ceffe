import assert from 'node:assert'
import { createRequire } from 'node:module'
import readline from 'node:readline'
import { PassThrough, Readable, Writable } from 'node:stream'
import { arrayBuffer, blob, buffer, text } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import util from 'node:util'
import { type ApiGroup, expect, expectBytes, type Memory, SAMPLE, TEXT } from './api.ts'

const require = createRequire(import.meta.url)
const HALF = SAMPLE.length / 2

/** The part of node:sqlite that is used here; the types of Node 20 don't know it. */
interface Sqlite {
  DatabaseSync: new (
    file: string
  ) => {
    prepare(sql: string): { get(...values: Uint8Array[]): { bytes: Uint8Array } }
    close(): void
  }
}

const halves = (memory: Memory) => [memory.holding(SAMPLE.subarray(0, HALF)), memory.holding(SAMPLE.subarray(HALF))]

function sqlite(memory: Memory): void {
  const { DatabaseSync }: Sqlite = require('node:sqlite')
  const database = new DatabaseSync(':memory:')
  expectBytes(database.prepare('SELECT ? AS bytes').get(memory.holding()).bytes)
  database.close()
}

export const utilApis: ApiGroup = {
  title: 'Streams and utilities',
  apis: [
    {
      name: 'stream.Readable.push',
      async use(memory) {
        const [first, second] = halves(memory)
        const stream = new Readable({ read() {} })
        stream.push(first)
        stream.push(second)
        stream.push(null)
        // Less than a chunk, and then across two: parts of buffers and joined ones.
        const parts = [stream.read(100), stream.read(600), stream.read()]
        expectBytes(Buffer.concat(parts))
      },
    },
    { name: 'stream.Readable.from', use: async (memory) => expectBytes(await buffer(Readable.from(halves(memory)))) },
    {
      name: 'stream.PassThrough',
      async use(memory) {
        const stream = new PassThrough()
        stream.end(memory.holding())
        expectBytes(await buffer(stream))
      },
    },
    {
      name: 'stream.Writable.write, writev',
      async use(memory) {
        const chunks: Buffer[] = []
        const stream = new Writable({
          writev(parts, done) {
            chunks.push(...parts.map(({ chunk }) => chunk))
            done()
          },
        })
        stream.cork()
        for (const half of halves(memory)) stream.write(half)
        stream.uncork()
        await new Promise((resolve) => stream.end(resolve))
        expectBytes(Buffer.concat(chunks))
      },
    },
    {
      name: 'stream.pipeline',
      async use(memory) {
        const stream = new PassThrough()
        const [bytes] = await Promise.all([buffer(stream), pipeline(Readable.from(halves(memory)), stream)])
        expectBytes(bytes)
      },
    },
    {
      name: 'stream.Readable.setEncoding',
      use: async (memory) => expectBytes(await text(Readable.from([memory.holding(TEXT)]).setEncoding('utf8')), TEXT),
    },
    {
      name: 'readline over a stream',
      async use(memory) {
        const stream = new PassThrough()
        stream.end(memory.holding(`${TEXT}\n${TEXT}\n`))
        const lines: string[] = []
        for await (const line of readline.createInterface({ input: stream })) lines.push(line)
        expectBytes(lines.join('\n'), `${TEXT}\n${TEXT}`)
      },
    },
    {
      name: 'util.inspect',
      use(memory) {
        expectBytes(util.inspect(memory.holding()), util.inspect(Buffer.from(SAMPLE)))
      },
    },
    {
      name: 'util.isDeepStrictEqual',
      use(memory) {
        expect(util.isDeepStrictEqual(memory.holding(), memory.holding()), 'equal bytes differ')
        expect(!util.isDeepStrictEqual(memory.holding(), memory.room()), 'different bytes are equal')
      },
    },
    {
      name: 'assert.deepStrictEqual',
      use(memory) {
        assert.deepStrictEqual(memory.holding(), memory.holding())
        assert.notDeepStrictEqual(memory.holding(), memory.room())
      },
    },
    { name: 'node:sqlite, a value', since: 22, exists: () => hasSqlite(), use: sqlite },
    {
      name: 'stream/consumers: arrayBuffer, blob, text',
      async use(memory) {
        expectBytes(await arrayBuffer(Readable.from(halves(memory), { objectMode: false })))
        expectBytes(await (await blob(Readable.from(halves(memory), { objectMode: false }))).arrayBuffer())
        expectBytes(await text(Readable.from([memory.holding(TEXT)])), TEXT)
      },
    },
  ],
}

/** Asked for without loading it, which would bring a warning. */
function hasSqlite(): boolean {
  return require('node:module').isBuiltin('node:sqlite')
}
