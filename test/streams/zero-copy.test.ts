import { once } from 'node:events'
import fs, { createWriteStream, readFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { createServer, IncomingMessage, ServerResponse } from 'node:http'
import { connect, Socket } from 'node:net'
import { Duplex, PassThrough, Writable } from 'node:stream'
import { createGzip } from 'node:zlib'
import test from 'ava'
import { isFileStream, isNativeFile, nativeSocket } from '../../lib/streams/zero-copy.ts'
import { fileOf, gather, isWhole, listening, poolOf, serve } from '../support/pool-io.ts'

const SIZE = 100

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
