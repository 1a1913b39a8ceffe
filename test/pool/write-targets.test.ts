import { EventEmitter, once } from 'node:events'
import fs, { createWriteStream, readFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { createServer, IncomingMessage, ServerResponse } from 'node:http'
import { connect, Socket } from 'node:net'
import { Duplex, PassThrough, Writable } from 'node:stream'
import { createGzip } from 'node:zlib'
import test, { type ExecutionContext } from 'ava'
import type { BufferPool } from '../../lib/index.ts'
import { HOST } from '../../lib/lifetime/host.ts'
import { isFileStream, isNativeFile, nativeSocket } from '../../lib/pool/zero-copy.ts'
import { fileOf, gather, isWhole, listening, poolOf, reasonOf, serve } from '../support/pool-io.ts'
import { NODE, PACKAGES } from '../support/stream-kinds.ts'

/** Nothing fails and nothing is late. */
const calmly = () => 1
const CHUNKS = 20
const SIZE = 100

for (const [name, open] of Object.entries({ ...NODE, ...PACKAGES })) {
  if (/forgets|no gzip/.test(name)) continue
  test(`a chunk stays what it was when its buffer is another's: ${name}`, async (t) => {
    // Two, and those that sockets of the pool read into.
    const pool = poolOf(t, SIZE, /of a pool/.test(name) ? 4 : 2)
    const { input, output, result, close } = await open(calmly, pool)
    const finished = result !== undefined && 'end' in input ? once(input, 'finish') : undefined
    const writing = (async () => {
      for (let i = 0; i < CHUNKS; i++) {
        const buffer = await pool.acquireAsync()
        await pool.write(input, buffer.fill(i))
        pool.release(buffer)
      }
      if ('end' in input) input.end()
    })()
    // Those that wait for a reader have one after some have been written.
    await new Promise((resolve) => setTimeout(resolve, 5))
    const got = output === undefined ? undefined : gather(pool.read(output))
    await writing
    if (result !== undefined) await finished
    const all = (await got) ?? (await result!())
    t.deepEqual(all, Buffer.from(Uint8Array.from({ length: CHUNKS * SIZE }, (_, at) => at / SIZE)))
    await close()
    await isWhole(t, pool)
  })
}

/** What `pool.write` makes of a target that has only some of what streams have. */
async function rejectsOf(t: ExecutionContext, pool: BufferPool, target: unknown): Promise<Error & { code?: string }> {
  const lease = pool.lease()
  const reason = await reasonOf(pool.write(target as Writable, lease))
  t.is(lease.references, 1)
  lease.release()
  return reason
}

test('what is no stream is refused, and nothing is held', async (t) => {
  const pool = poolOf(t, SIZE)
  const wrong = [{ write() {} }, { write() {}, once: 1 }, { once() {} }, () => {}, new WritableStream().getWriter()]
  for (const target of wrong) t.is((await rejectsOf(t, pool, target)).code, 'ERR_INVALID_ARG_TYPE')
  const reason = new Error('on purpose')
  const fails = () => {
    throw reason
  }
  t.is(await rejectsOf(t, pool, { write() {}, once: fails }), reason)
  t.is(await rejectsOf(t, pool, { write: fails, once() {} }), reason)
  await isWhole(t, pool)
  await pool[Symbol.asyncDispose]()
  t.false(pool.heap[HOST].isOpen)
})

/** A stream that takes no callback, as streamx and those of before Node's second. */
class Plain extends EventEmitter {
  readonly chunks: Uint8Array[] = []
  hasRoom = true
  destroyed = false
  write(chunk: Uint8Array): boolean {
    this.chunks.push(chunk)
    return this.hasRoom
  }
}

test('a stream that takes no callback has room, drains, finishes, fails, is closed or destroyed', async (t) => {
  const pool = poolOf(t, SIZE)
  const lease = pool.lease()
  lease.buffer.fill('a')
  const plain = new Plain()
  const write = () => pool.write(plain as unknown as Writable, lease)
  await write()
  lease.buffer.fill('b')
  t.is(`${plain.chunks[0]}`, `${Buffer.alloc(SIZE, 'a')}`)
  plain.hasRoom = false
  for (const event of ['drain', 'finish']) {
    const [one, two] = [write(), write()]
    t.is(lease.references, 3)
    plain.emit(event)
    await one
    await two
  }
  t.true(plain.listenerCount('drain') <= 1)
  const reason = new Error('on purpose')
  const failing = write()
  t.throws(() => plain.emit('error', reason), { is: reason }, 'the error is still nobody’s')
  t.is(await reasonOf(failing), reason)
  for (const how of ['close', undefined]) {
    const writing = write()
    if (how === undefined) plain.destroyed = true
    else plain.emit(how)
    t.regex((await reasonOf(writing)).message, /closed before/)
  }
  plain.hasRoom = true
  t.regex((await reasonOf(write())).message, /closed before/)
  t.is(lease.references, 1)
  lease.release()
  await isWhole(t, pool)
})

test("a write that was replaced, and calls nobody back, doesn't wait for ever", async (t) => {
  const pool = poolOf(t, SIZE)
  const lease = pool.lease()
  const caught: unknown[] = []
  const stream = new PassThrough()
  stream.write = ((chunk: unknown, _encoding: unknown, _callback: unknown) =>
    caught.push(chunk) > 0) as typeof stream.write
  await pool.write(stream, lease)
  const passing = new PassThrough()
  const { write } = passing
  passing.write = ((...given: unknown[]) => write.apply(passing, given as never)) as typeof write
  const late = new Writable({ write: (_, __, done) => void setTimeout(done, 5, new Error('on purpose')) })
  late.on('error', () => {})
  const lateWrite = late.write
  late.write = ((...given: unknown[]) => lateWrite.apply(late, given as never)) as typeof write
  await pool.write(passing, lease)
  t.is((await reasonOf(pool.write(late, lease))).message, 'on purpose')
  t.is(caught.length, 1)
  lease.release()
  await isWhole(t, pool)
})

test('only what is known to read from the memory itself is given it', async (t) => {
  const port = await serve(t, (socket) => void socket.resume())
  const socket = connect(port, '127.0.0.1')
  t.teardown(() => socket.destroy())
  t.is(nativeSocket(socket), socket)
  await once(socket, 'connect')
  t.is(nativeSocket(socket), socket)
  class Passing extends Socket {
    readonly passed: unknown[] = []
    override _write(chunk: unknown, _: string, callback: () => void): void {
      this.passed.push(chunk)
      callback()
    }
  }
  const subclass = new Passing().connect(port, '127.0.0.1')
  t.is(nativeSocket(subclass), undefined)
  await once(subclass, 'connect')
  const pool = poolOf(t, SIZE)
  const buffer = pool.acquire().fill('a')
  await pool.write(subclass, buffer)
  buffer.fill('b')
  t.is(`${subclass.passed}`, 'a'.repeat(SIZE))
  subclass.destroy()
  pool.release(buffer)

  // By one method of one object; by the handle; by none.
  const patched = connect(port, '127.0.0.1')
  patched.write = patched.write.bind(patched) as typeof patched.write
  const { _handle: handle } = socket as unknown as { _handle: { writeBuffer: unknown } }
  handle.writeBuffer = () => {}
  t.is(nativeSocket(socket), undefined)
  delete handle.writeBuffer
  t.is(nativeSocket(socket), socket)
  for (const other of [patched, new Socket(), process.stdout, createGzip(), new Duplex(), Object.create(null)])
    t.is(nativeSocket(other as Writable), undefined)
  patched.destroy()
  t.is(nativeSocket(patched), undefined)
  class TCP {
    writeBuffer() {}
    close() {}
    readStart() {}
  }
  t.is(nativeSocket(Object.assign(new Socket(), { _handle: new TCP() })), undefined)
})

test('a response is known by its socket', async (t) => {
  const pool = poolOf(t, SIZE)
  const server = createServer((request, response) => {
    t.is(nativeSocket(response), request.socket)
    const own = response.write
    response.write = own.bind(response) as typeof own
    t.is(nativeSocket(response), undefined)
    response.end()
  })
  const port = await listening(t, server)
  const socket = connect(port, '127.0.0.1')
  socket.end('GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n')
  t.true((await gather(socket)).length > 0)
  // As those do who answer requests without a network.
  const passed: Buffer[] = []
  const sink = new Writable({
    write(chunk: Buffer, _, callback) {
      passed.push(chunk)
      callback()
    },
  })
  const response = new ServerResponse(new IncomingMessage(new Socket()))
  response.assignSocket(sink as unknown as Socket)
  t.is(nativeSocket(response), undefined)
  const buffer = pool.acquire().fill('a')
  await pool.write(response, buffer)
  buffer.fill('b')
  t.true(`${Buffer.concat(passed)}`.endsWith('a'.repeat(SIZE)))
  pool.release(buffer)
})

test("files are known by their class, files' streams by their functions", async (t) => {
  const pool = poolOf(t, SIZE)
  const file = await fileOf(t, Buffer.alloc(0))
  t.true(isNativeFile(file))
  t.true(isNativeFile(file))
  const kept: Uint8Array[] = []
  const like = {
    fd: 3,
    read() {},
    datasync() {},
    write: async (bytes: Uint8Array, offset: number, length: number) => ({
      bytesWritten: kept.push(bytes.subarray(offset, offset + length)) * 0 + length,
    }),
  }
  t.false(isNativeFile(like as never))
  const other = await open('/dev/null', 'w')
  const { write } = other
  other.write = ((...given: never[]) => (write as (...given: never[]) => unknown).apply(other, given)) as typeof write
  t.false(isNativeFile(other))
  await other.close()
  const buffer = pool.acquire().fill('a')
  await pool.write(like as never, buffer)
  buffer.fill('b')
  t.is(`${kept[0] as Buffer}`, `${Buffer.alloc(SIZE, 'a')}`)

  const path = `/proc/self/fd/${file.fd}`
  const stream = createWriteStream(path)
  t.true(isFileStream(stream))
  t.false(isFileStream(createWriteStream(path, { fs: { ...fs } } as never).on('error', () => {})))
  t.false(isFileStream(new PassThrough()))
  await pool.write(stream, buffer)
  t.deepEqual(readFileSync(path), Buffer.alloc(SIZE, 'b'))
  stream.destroy()
  pool.release(buffer)
  await isWhole(t, pool)
})

test('memory that nobody holds is copied if its owner may have it back before it is written', async (t) => {
  const pool = poolOf(t, SIZE)
  let received = 0
  let others = 0
  const port = await serve(t, (socket) => {
    socket
      .on('end', () => socket.end())
      .on('data', (chunk: Buffer) => {
        received += chunk.length
        for (const byte of chunk) if (byte !== 97) others++
      })
    socket.pause()
    setTimeout(() => socket.resume(), 30)
  })
  const socket = connect(port, '127.0.0.1')
  await once(socket, 'connect')
  const bytes = Buffer.alloc(2 ** 24, 'a')
  const controller = new AbortController()
  const writing = pool.write(socket, bytes, { signal: controller.signal })
  controller.abort(new Error('on purpose'))
  await t.throwsAsync(writing, { message: 'on purpose' })
  bytes.fill('b')
  socket.resume().end()
  await once(socket, 'close')
  t.deepEqual({ received, others }, { received: bytes.length, others: 0 })
})
