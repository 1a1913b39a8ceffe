import { once } from 'node:events'
import { createWriteStream, readFileSync } from 'node:fs'
import { createServer, get, request } from 'node:http'
import { connect } from 'node:net'
import { join } from 'node:path'
import { PassThrough, Writable } from 'node:stream'
import { createGunzip, createGzip, gunzipSync } from 'node:zlib'
import test from 'ava'
import { BufferPool } from '../../lib/index.ts'
import { fileOf, gather, isWhole, listening, poolOf, reasonOf, sample, serve, until } from '../support/pool-io.ts'

/** A stream that is done with a chunk when it is told. */
function slowly(): { stream: Writable; done: (error?: Error) => void; chunks: Buffer[] } {
  const calls: ((error?: Error) => void)[] = []
  const chunks: Buffer[] = []
  const stream = new Writable({
    write(chunk: Buffer, _, callback) {
      chunks.push(chunk)
      calls.push(callback)
    },
  })
  return { stream, chunks, done: (error) => calls.shift()!(error) }
}

test('to a file, where it is or at a position', async (t) => {
  const pool = poolOf(t, 100)
  const file = await fileOf(t, Buffer.alloc(0))
  const lease = pool.lease()
  lease.buffer.fill('a')
  await pool.write(file, lease)
  const acquired = pool.acquire().fill('b')
  await pool.write(file, acquired.subarray(0, 10), { position: 95 })
  await pool.write(file, lease.buffer.subarray(0, 3))
  await pool.write(file, Buffer.from('end'), { position: 200 })
  const expected = Buffer.alloc(203)
  expected.fill('a', 0, 103).fill('b', 95, 100).fill('a', 100, 103).fill('b', 103, 105).write('end', 200)
  t.deepEqual(await gather(pool.read(file, { start: 0 })), expected)
  lease.release()
  pool.release(acquired)
  await isWhole(t, pool)
})

test('to a file that is closed', async (t) => {
  const pool = poolOf(t, 100)
  const file = await fileOf(t, Buffer.alloc(0))
  await file.close()
  const buffer = pool.acquire()
  t.is((await reasonOf(pool.write(file, buffer))).code, 'EBADF')
  pool.release(buffer)
  await isWhole(t, pool)
})

test('to a socket', async (t) => {
  const pool = poolOf(t, 100_000, 2)
  const contents = sample(1_000_000)
  const got: Promise<Buffer>[] = []
  const port = await serve(t, (socket) => {
    got.push(gather(socket).finally(() => socket.end()))
  })
  const socket = connect(port, '127.0.0.1')
  for (let at = 0; at < contents.length; at += pool.size) {
    const lease = await pool.leaseAsync()
    lease.buffer.set(contents.subarray(at, at + pool.size))
    void pool.write(socket, lease)
    lease.release() // goes back when it is written
  }
  socket.end()
  await once(socket.resume(), 'close')
  t.deepEqual(await got[0], contents)
  await isWhole(t, pool)
})

test('to an HTTP response and request', async (t) => {
  const pool = poolOf(t, 1000)
  const server = createServer(async (message, response) => {
    for await (const chunk of pool.read(message)) await pool.write(response, chunk)
    response.end()
  })
  const port = await listening(t, server)
  const contents = sample(10_000)
  const sent = request({ port, host: '127.0.0.1', method: 'POST', agent: false })
  const [response] = await Promise.all([
    once(sent, 'response'),
    (async () => {
      const buffer = pool.acquire()
      for (let at = 0; at < contents.length; at += pool.size) {
        buffer.set(contents.subarray(at, at + pool.size))
        await pool.write(sent, buffer)
      }
      pool.release(buffer)
      sent.end()
    })(),
  ])
  t.deepEqual(await gather(response[0]), contents)
  await isWhole(t, pool)
})

test('to a response whose client is gone', async (t) => {
  const pool = poolOf(t, 2 ** 22)
  const failed = new Promise<Error>((resolve) => {
    const server = createServer(async (_, response) => {
      const lease = pool.lease()
      const sendForever = async () => {
        for (;;) await pool.write(response, lease)
      }
      resolve(await reasonOf(sendForever()))
      lease.release()
    })
    void listening(t, server).then((port) => {
      const asked = get({ port, host: '127.0.0.1', agent: false }, (response) => response.destroy())
      asked.on('error', () => {})
    })
  })
  t.true((await failed) instanceof Error)
  await isWhole(t, pool)
})

test("to zlib, and to a file's stream", async (t) => {
  const pool = poolOf(t, 5000)
  const contents = sample(50_000)
  const file = await fileOf(t, Buffer.alloc(0))
  const path = join(`/proc/self/fd/${file.fd}`)
  const gzip = createGzip()
  const output = createWriteStream(path)
  const copied = (async () => {
    for await (const chunk of pool.read(gzip)) await pool.write(output, chunk)
    output.end()
    await once(output, 'close')
  })()
  for (let at = 0; at < contents.length; at += pool.size) {
    const lease = pool.lease()
    lease.buffer.set(contents.subarray(at, at + pool.size))
    const writing = pool.write(gzip, lease)
    lease.release()
    await writing
  }
  gzip.end()
  await copied
  t.deepEqual(gunzipSync(readFileSync(path)), contents)
  await isWhole(t, pool)
})

test('a release during a write counts after it', async (t) => {
  const pool = poolOf(t, 100)
  const { stream, done, chunks } = slowly()
  const buffer = pool.acquire().fill('a')
  const writing = pool.write(stream, buffer)
  pool.release(buffer)
  const others = Array.from({ length: 5 }, () => pool.acquire().fill('b'))
  t.is(chunks[0]!.toString(), 'a'.repeat(100))
  t.is(pool.stats().leased, 1)
  t.throws(() => pool.release(buffer), { code: 'ERR_POOL_DOUBLE_RELEASE' })
  done()
  await writing
  t.is(pool.stats().leased, 0)
  for (const other of others) pool.release(other)
  await isWhole(t, pool)
})

test('an abort rejects with the reason, and the buffer is held until the write is done', async (t) => {
  const pool = poolOf(t, 100)
  const reason = new Error('no more')
  const { stream, done } = slowly()
  const lease = pool.lease()
  t.is(await reasonOf(pool.write(stream, lease, { signal: AbortSignal.abort(reason) })), reason)
  t.is(lease.references, 1)
  const controller = new AbortController()
  const writing = pool.write(stream, lease, { signal: controller.signal })
  lease.release()
  controller.abort(reason)
  t.is(await reasonOf(writing), reason)
  t.is(lease.references, 1)
  t.is(pool.stats().leased, 1)
  done()
  await isWhole(t, pool)
  t.is(lease.references, 0)
})

test('a stream that fails, is destroyed, or has ended rejects, and gives the buffer back', async (t) => {
  const pool = poolOf(t, 100)
  const buffer = pool.acquire()
  const failing = slowly()
  failing.stream.on('error', () => {})
  const writing = pool.write(failing.stream, buffer)
  const behind = pool.write(failing.stream, buffer)
  failing.done(new Error('on purpose'))
  t.is((await reasonOf(writing)).message, 'on purpose')
  await t.throwsAsync(behind)

  const destroyed = new PassThrough()
  destroyed.destroy()
  await t.throwsAsync(pool.write(destroyed, buffer))
  const ended = new PassThrough().end()
  ended.on('error', () => {})
  t.is((await reasonOf(pool.write(ended, buffer))).code, 'ERR_STREAM_WRITE_AFTER_END')

  // At work while it is destroyed: what it has is a copy.
  const busy = slowly()
  const late = pool.write(busy.stream, buffer)
  t.is(pool.stats().leased, 1)
  busy.stream.destroy()
  await t.throwsAsync(late)
  t.is(pool.stats().leased, 0)
  const gzip = createGzip()
  const zipping = pool.write(gzip, buffer)
  gzip.destroy()
  await t.throwsAsync(zipping)
  await until(() => pool.stats().leased === 0)
  pool.release(buffer)
  await isWhole(t, pool)
})

test('a stream that forgets its callback is done with when it is destroyed', async (t) => {
  const pool = poolOf(t, 100)
  const buffer = pool.acquire()
  // Without an event it takes a moment to be seen.
  for (const emitClose of [true, false]) {
    const stream = new Writable({ write() {}, emitClose })
    const [writing, behind] = [pool.write(stream, buffer), pool.write(stream, buffer)]
    t.is(pool.stats().leased, 1)
    stream.destroy()
    await t.throwsAsync(writing, { message: /closed before/ })
    await t.throwsAsync(behind)
    t.is(pool.stats().leased, 0)
  }
  pool.release(buffer)
  await isWhole(t, pool)
})

test('a socket that is destroyed rejects and gives the buffer back', async (t) => {
  const pool = poolOf(t, 2 ** 22)
  const port = await serve(t, (socket) => t.teardown(() => socket.destroy()))
  const socket = connect(port, '127.0.0.1')
  await once(socket, 'connect')
  const lease = pool.lease()
  // More than its peer's buffers take, which reads nothing; and more writes than an emitter likes to have listeners.
  const writings = Array.from({ length: 20 }, () => pool.write(socket, lease))
  t.is(socket.listenerCount('close') < 10, true)
  lease.release()
  t.is(pool.stats().leased, 1)
  socket.destroy()
  for (const writing of writings) await t.throwsAsync(writing)
  await isWhole(t, pool)
})

test('a close of the pool, or of the heap, during a write', async (t) => {
  for (const whose of ['pool', 'heap'] as const) {
    const pool = new BufferPool({ size: 100 })
    const { stream, done, chunks } = slowly()
    const writing = pool.write(stream, pool.acquire().fill('a'))
    const closed = pool[Symbol.asyncDispose]
    if (whose === 'pool') pool.close()
    else pool.heap.close()
    t.throws(() => pool.acquire(), { code: 'ERR_POOL_CLOSED' })
    t.is(chunks[0]!.toString(), 'a'.repeat(100), whose)
    done()
    await writing
    if (whose === 'heap') await closed.call(pool)
    pool.heap.close()
  }
})

test('another pool holds its own lease; other memory needs none', async (t) => {
  const one = poolOf(t, 100)
  const other = poolOf(t, 100)
  const { stream, done } = slowly()
  const lease = other.lease()
  const writing = one.write(stream, lease)
  lease.release()
  t.is(other.stats().leased, 1)
  done()
  await writing
  await isWhole(t, other)
  const gunzip = createGunzip()
  gunzip.on('error', () => {})
  await t.throwsAsync(one.write(gunzip, Buffer.from('no gzip')), { code: 'Z_DATA_ERROR' })
})

test('wrong arguments are refused, and nothing is held', async (t) => {
  const pool = poolOf(t, 100)
  const buffer = pool.acquire()
  const wrong = { instanceOf: TypeError, code: 'ERR_INVALID_ARG_TYPE' }
  for (const target of [undefined, null, 7, {}, 'text']) await t.throwsAsync(pool.write(target as never, buffer), wrong)
  for (const data of [undefined, null, 7, 'text', new ArrayBuffer(8)])
    await t.throwsAsync(pool.write(new PassThrough(), data as never), wrong)
  await t.throwsAsync(pool.write(new PassThrough(), buffer, null as never), wrong)
  await t.throwsAsync(pool.write(new PassThrough(), buffer, { signal: {} as never }), wrong)
  const file = await fileOf(t, Buffer.alloc(0))
  await t.throwsAsync(pool.write(file, buffer, { position: -1 }), { code: 'ERR_OUT_OF_RANGE' })
  pool.release(buffer)
  await t.throwsAsync(pool.write(file, buffer), { code: 'ERR_POOL_DOUBLE_RELEASE' })
  const lease = pool.lease()
  lease.release()
  await t.throwsAsync(pool.write(file, lease), { code: 'ERR_HEAP_STALE_HANDLE' })
  await isWhole(t, pool)
})
