import type { Socket } from 'node:net'
import { PassThrough, Readable } from 'node:stream'
import test, { type ExecutionContext } from 'ava'
import type { BufferPool, ReadSource } from '../../lib/index.ts'
import { HOST } from '../../lib/lifetime/host.ts'
import { fileOf, gather, isWhole, poolOf, reasonOf, sample, serve } from '../support/pool-io.ts'
import { isOver } from '../support/pool-over.ts'

type Pool = BufferPool

const SIZE = 1000
const REASON = new Error('no more')
const MINE = new Error('of the loop')

/** What a pool reads from, with contents; what it has copied from a stream counts as what the system reads into its buffers. */
const SOURCES: Record<string, (t: ExecutionContext, pool: Pool, contents: Buffer) => Promise<ReadSource>> = {
  file: (t, _, contents) => fileOf(t, contents).then(async (file) => file),
  stream: async (_, __, contents) => Readable.from(contents.length === 0 ? [] : [contents], { objectMode: false }),
  async socket(t, pool, contents) {
    const port = await serve(t, (socket) => void socket.end(contents))
    const socket = pool.connect({ port, host: '127.0.0.1' })
    t.teardown(() => socket.destroy())
    return socket
  },
}

/** Others take all that they can get while a chunk is the loop's, and write to it: the chunk stays as it is. */
async function isOurs(t: ExecutionContext, pool: Pool, chunk: Buffer): Promise<void> {
  const before = Buffer.from(chunk)
  for (let turn = 0; turn < 3; turn++) {
    const others = [pool.tryAcquire(), pool.tryAcquire(), pool.tryAcquire()].filter((other) => other !== undefined)
    for (const other of others) other.fill(0xee)
    await new Promise(setImmediate)
    for (const other of others) {
      t.true(other.every((byte) => byte === 0xee))
      pool.release(other)
    }
  }
  t.true(chunk.equals(before))
}

for (const [name, open] of Object.entries(SOURCES)) {
  const titled = (title: string, body: (t: ExecutionContext, pool: Pool) => Promise<void>, max?: number) =>
    test(`${title}: ${name}`, (t) => body(t, poolOf(t, SIZE, max)))

  titled('a chunk is the loop’s own until the next, whatever others take', async (t, pool) => {
    const contents = sample(3500)
    const source = await open(t, pool, contents)
    const copies: Buffer[] = []
    for await (const chunk of pool.read(source)) {
      await isOurs(t, pool, chunk)
      copies.push(Buffer.from(chunk))
    }
    t.deepEqual(Buffer.concat(copies), contents)
    await isOver(t, pool, source)
  })

  titled('an early break, and a throw in the loop', async (t, pool) => {
    for (const way of ['break', 'throw'] as const) {
      const source = await open(t, pool, sample(3500))
      const loop = async () => {
        for await (const chunk of pool.read(source)) {
          t.true(chunk.length > 0)
          if (way === 'throw') throw MINE
          break
        }
      }
      if (way === 'throw') t.is(await reasonOf(loop()), MINE)
      else await loop()
      if ('destroy' in source) (source as Socket).destroy()
      await isWhole(t, pool)
    }
    await isOver(t, pool)
  })

  titled('nothing at all, and less than a buffer', async (t, pool) => {
    for (const length of [0, 1, SIZE - 1, SIZE]) {
      const source = await open(t, pool, sample(length))
      const chunks: number[] = []
      for await (const chunk of pool.read(source)) chunks.push(chunk.length)
      t.true(chunks.every((bytes) => bytes > 0))
      t.is(
        chunks.reduce((sum, bytes) => sum + bytes, 0),
        length
      )
    }
    await isOver(t, pool)
  })

  titled('an abort before: nothing is read', async (t, pool) => {
    const source = await open(t, pool, sample(2500))
    t.is(await reasonOf(gather(pool.read(source, { signal: AbortSignal.abort(REASON) }))), REASON)
    await isOver(t, pool, source)
  })

  titled('a reader that was never begun, and one that is left twice', async (t, pool) => {
    const source = await open(t, pool, sample(2500))
    const never = pool.read(source)
    await never.return()
    const chunks = pool.read(source)
    await chunks.next()
    await chunks.return()
    await chunks.return()
    t.true((await chunks.next()).done)
    await isOver(t, pool, source)
  })

  titled(
    'who waits for a buffer when the pool is closed is told',
    async (t, pool) => {
      const source = await open(t, pool, sample(5000))
      const held = [pool.tryLease(), pool.tryLease()]
      const reading = gather(pool.read(source)).catch((error: { code: string }) => error.code)
      for (let turn = 0; turn < 5; turn++) await new Promise(setImmediate)
      pool.close()
      // A socket goes on with buffers of its own.
      if (name === 'socket') t.is((await reading).length, 5000)
      else t.is(await reading, 'ERR_POOL_CLOSED')
      for (const lease of held) lease?.release()
      if ('destroy' in source) (source as Socket).destroy()
      await pool[Symbol.asyncDispose]()
      t.false(pool.heap[HOST].isOpen)
    },
    2
  )
}

for (const name of ['file', 'stream', 'socket'] as const) {
  test(`an abort while the loop has a chunk is heard at the next: ${name}`, async (t) => {
    const pool = poolOf(t, SIZE)
    const source = await SOURCES[name]!(t, pool, sample(5000))
    const controller = new AbortController()
    const chunks = pool.read(source, { signal: controller.signal })
    t.true((await chunks.next()).value!.length > 0)
    // What is read ahead is there by then.
    await new Promise((resolve) => setTimeout(resolve, 20))
    controller.abort(REASON)
    t.is(await reasonOf(chunks.next()), REASON)
    t.true((await chunks.next()).done)
    await isOver(t, pool, source)
  })
}

test('a source that fails in the middle', async (t) => {
  const pool = poolOf(t, SIZE)
  const sources: (() => AsyncIterable<Uint8Array>)[] = [
    async function* () {
      yield sample(2500)
      throw MINE
    },
    () => {
      const stream = new PassThrough()
      stream.write(sample(2500))
      setTimeout(() => stream.destroy(MINE), 20)
      return stream
    },
  ]
  for (const source of sources) {
    let length = 0
    const loop = async () => {
      for await (const chunk of pool.read(source())) length += chunk.length
    }
    t.is(await reasonOf(loop()), MINE)
    t.is(length, 2500)
  }
  const cut = new PassThrough()
  cut.write(sample(10))
  setTimeout(() => cut.destroy(), 20)
  t.is((await reasonOf(gather(pool.read(cut)))).code, 'ERR_STREAM_PREMATURE_CLOSE')
  await isOver(t, pool)
})

test('a socket that fails in the middle', async (t) => {
  const pool = poolOf(t, SIZE)
  const port = await serve(t, (socket) => void socket.write(sample(1500)))
  const socket = pool.connect({ port, host: '127.0.0.1' })
  let length = 0
  const loop = async () => {
    for await (const chunk of pool.read(socket)) {
      length += chunk.length
      if (length === 1500) socket.destroy(MINE)
    }
  }
  t.is(await reasonOf(loop()), MINE)
  t.is(length, 1500)
  await isOver(t, pool)
})
