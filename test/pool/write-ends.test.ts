import { once } from 'node:events'
import { createServer, get } from 'node:http'
import { connect, type Socket } from 'node:net'
import { Writable } from 'node:stream'
import test from 'ava'
import { gather, listening, poolOf, reasonOf, sample, serve, until } from '../support/pool-io.ts'
import { isOver } from '../support/pool-over.ts'

const SIZE = 1000
const MINE = new Error('of the loop')

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

test('a stream that closes after its writes costs no error', async (t) => {
  const pool = poolOf(t, SIZE)
  const target = new Writable({ write: (_chunk, _encoding, done) => done() })
  await pool.write(target, pool.acquire())
  let looks = 0
  Object.defineProperty(target, 'errored', { get: () => void looks++ })
  target.destroy()
  await once(target, 'close')
  t.is(looks, 0)
})
