import { once } from 'node:events'
import { createServer, get } from 'node:http'
import { connect, type Socket } from 'node:net'
import { PassThrough, Readable, Writable } from 'node:stream'
import test, { type ExecutionContext } from 'ava'
import { Operations } from '../../lib/buffers/in-flight.ts'
import type { BufferPool, ReadSource } from '../../lib/index.ts'
import { HOST } from '../../lib/lifetime/host.ts'
import { fileOf, gather, isWhole, listening, poolOf, reasonOf, sample, serve, until } from '../support/pool-io.ts'

type Pool = BufferPool

/** Operations that each heap waits for before it gives its memory away. */
const underWay = new Map<Operations, number>()
const { begin } = Operations.prototype
Operations.prototype.begin = function (this: Operations) {
  const end = begin.call(this)
  const add = (count: number) => underWay.set(this, (underWay.get(this) ?? 0) + count)
  add(1)
  let isOver = false
  return () => {
    if (!isOver) add(-1)
    isOver = true
    end()
  }
}

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

/** Everything came back, no operation is under way, and a close of the pool has nothing to wait for. */
async function isOver(t: ExecutionContext, pool: Pool, source?: ReadSource): Promise<void> {
  if (source !== undefined && 'destroy' in source) (source as Socket).destroy()
  await isWhole(t, pool)
  const { buffers, idle, waiting } = pool.stats()
  t.deepEqual({ idle, waiting }, { idle: buffers, waiting: 0 })
  await until(() => (underWay.get(pool.heap[HOST].operations) ?? 0) === 0)
  pool.heap.audit()
  await pool[Symbol.asyncDispose]()
  t.false(pool.heap[HOST].isOpen)
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

test('a stream that throws when it is written to gives the buffer back, and the reason', async (t) => {
  const pool = poolOf(t, SIZE)
  const throwing = () =>
    new Writable({
      write() {
        throw MINE
      },
    })
  const buffer = pool.acquire()
  t.is(await reasonOf(pool.write(throwing(), buffer)), MINE)
  t.like(pool.stats(), { acquired: 1, leased: 0 })
  pool.release(buffer)
  const lease = pool.lease()
  t.is(await reasonOf(pool.write(throwing(), lease)), MINE)
  t.is(lease.references, 1)
  lease.release()
  await isOver(t, pool)
})

test('a response that may have no body refuses it, and holds nothing', async (t) => {
  const pool = poolOf(t, SIZE)
  const refused = new Promise<Error & { code?: string }>((resolve) => {
    const server = createServer({ rejectNonStandardBodyWrites: true } as object, async (_, response) => {
      using lease = pool.lease()
      response.statusCode = 204
      resolve(await reasonOf(pool.write(response, lease)))
      t.is(lease.references, 1)
      response.end()
    })
    void listening(t, server).then((port) => get({ port, host: '127.0.0.1', agent: false }, (got) => got.resume()))
  })
  t.is((await refused).code, 'ERR_HTTP_BODY_NOT_ALLOWED')
  await isOver(t, pool)
})

test("a socket that is destroyed, has ended, or isn't connected is written to", async (t) => {
  const pool = poolOf(t, SIZE)
  const port = await serve(t, (socket) => void socket.resume())
  const lease = pool.lease()
  for (const way of ['destroyed', 'ended', 'destroyed at once'] as const) {
    const socket = connect(port, '127.0.0.1').on('error', () => {})
    if (way !== 'destroyed at once') await once(socket, 'connect')
    if (way === 'ended') socket.end()
    else socket.destroy()
    const { code } = await reasonOf(pool.write(socket, lease))
    t.is(code, way === 'ended' ? 'ERR_STREAM_WRITE_AFTER_END' : 'ERR_STREAM_DESTROYED', way)
    socket.destroy()
    await until(() => lease.references === 1)
  }
  const refused = connect({ path: '/nowhere/at/all' }).on('error', () => {})
  t.is((await reasonOf(pool.write(refused, lease))).code, 'ENOENT')
  await until(() => lease.references === 1)
  lease.release()
  await isOver(t, pool)
})

test('backpressure: who awaits writes has one buffer out, however slow the reader is', async (t) => {
  const pool = poolOf(t, 65_536, 2)
  const contents = sample(3_000_000)
  let peer: Socket | undefined
  const port = await serve(t, (socket) => {
    peer = socket.pause()
  })
  const socket = connect(port, '127.0.0.1')
  const writing = (async () => {
    for (let at = 0; at < contents.length; at += pool.size) {
      using lease = await pool.leaseAsync()
      const length = Math.min(pool.size, contents.length - at)
      contents.copy(lease.buffer, 0, at, at + length)
      await pool.write(socket, lease.buffer.subarray(0, length))
    }
    socket.end()
  })()
  await until(() => peer !== undefined)
  for (let turn = 0; turn < 200; turn++) {
    t.true(pool.stats().leased <= 1)
    await new Promise(setImmediate)
  }
  t.is(pool.stats().buffers, 1, 'it never needed a second')
  const got = gather(peer!.resume())
  await writing
  t.deepEqual(await got, contents)
  peer!.destroy()
  socket.destroy()
  await isOver(t, pool)
})
