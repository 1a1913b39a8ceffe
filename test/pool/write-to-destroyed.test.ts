import { spawn } from 'node:child_process'
import { once } from 'node:events'
import http from 'node:http'
import http2 from 'node:http2'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import type { Writable } from 'node:stream'
import tls from 'node:tls'
import test from 'ava'
import { BufferPool } from '../../lib/index.ts'
import { isWhole } from '../support/pool-io.ts'
import { withoutCertificates } from '../support/stream-kinds.ts'

const SIZE = 60_000
/** More than the system's buffers take from one who writes to a peer that reads nothing. */
const WRITES = 100
/** What the next owner of a buffer fills it with. No stream is given it. */
const CANARY = 0xee

/** A target whose peer reads nothing yet: `peer` begins to when it is resumed. */
interface Stalled {
  target: Writable
  peer: NodeJS.ReadableStream
  hurts: Record<string, () => void>
  close(): void
}

async function listening(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

const frame = (type: number, flags: number, id: number, payload: Buffer) => {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload.length, 0, 3)
  head[3] = type
  head[4] = flags
  head.writeUInt32BE(id, 5)
  return Buffer.concat([head, payload])
}
const words = (...values: number[]) =>
  Buffer.concat(values.map((value) => Buffer.from(Uint32Array.of(value).buffer).swap32()))

/** A client that asks for one response, with windows that never close, and reads nothing. */
function http2Client(port: number): Socket {
  const client = connect(port, '127.0.0.1').pause()
  client.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
  client.write(frame(4, 0, 0, Buffer.concat([Buffer.of(0, 4), words(2 ** 31 - 1)]))) // SETTINGS_INITIAL_WINDOW_SIZE
  client.write(frame(8, 0, 0, words(2 ** 31 - 1 - 65_535))) // WINDOW_UPDATE
  client.write(frame(1, 5, 1, Buffer.of(0x82, 0x86, 0x84, 0x41, 1, 0x61))) // GET / of the authority a
  return client
}

async function overHttp2(way: 'stream' | 'response'): Promise<Stalled> {
  const server = http2.createServer().on('sessionError', () => {})
  const asked = once(server, way === 'stream' ? 'stream' : 'request')
  const peer = http2Client(await listening(server))
  const [first, response] = (await asked) as [http2.ServerHttp2Stream, http2.Http2ServerResponse]
  const target = way === 'stream' ? first : response
  const stream = way === 'stream' ? first : response.stream
  stream.on('error', () => {})
  if (way === 'stream') first.respond()
  return {
    target: target as unknown as Writable,
    peer,
    hurts: {
      'the target': () => target.destroy(),
      'the stream, with an error': () => stream.destroy(new Error('on purpose')),
      'by a close': () => stream.close(),
      'by the peer': () => void peer.write(frame(3, 0, 1, words(8))),
      'the session': () => stream.session?.destroy(),
      'with the socket': () => peer.destroy(),
    },
    close() {
      stream.session?.destroy()
      peer.destroy()
      server.close()
    },
  }
}

const KINDS: Record<string, () => Promise<Stalled>> = {
  'an HTTP/2 stream': () => overHttp2('stream'),
  'an HTTP/2 response': () => overHttp2('response'),
  async 'an HTTP response'() {
    const server = http.createServer()
    const asked = once(server, 'request')
    const peer = connect(await listening(server), '127.0.0.1').pause()
    peer.write('GET / HTTP/1.1\r\nhost: a\r\n\r\n')
    const [, response] = (await asked) as [unknown, http.ServerResponse]
    const { socket } = response
    return {
      target: response,
      peer,
      hurts: {
        'the target': () => response.destroy(),
        'the socket': () => socket!.destroy(),
        'by the peer': () => peer.resetAndDestroy(),
      },
      close() {
        peer.destroy()
        server.close()
        server.closeAllConnections()
      },
    }
  },
  async 'a request that is upgraded meanwhile'() {
    const server = createServer((socket) => socket.on('error', () => {}).pause())
    const accepted = once(server, 'connection')
    const headers = { connection: 'upgrade', upgrade: 'other' }
    const request = http.request({
      port: await listening(server),
      host: '127.0.0.1',
      method: 'POST',
      headers,
      agent: false,
    })
    let socket: Socket | undefined
    request
      .on('error', () => {})
      .on('upgrade', (_, upgraded: Socket) => {
        socket = upgraded.on('error', () => {})
      })
    request.flushHeaders()
    const [peer] = (await accepted) as [Socket]
    return {
      target: request,
      peer,
      hurts: {
        'the target': () => request.destroy(),
        'by the peer': () => void peer.write('HTTP/1.1 101 other\r\nconnection: upgrade\r\nupgrade: other\r\n\r\n'),
      },
      close() {
        socket?.destroy()
        request.destroy()
        peer.destroy()
        server.close()
      },
    }
  },
  async 'a socket'() {
    const server = createServer((socket) => socket.on('error', () => {}).pause())
    const accepted = once(server, 'connection')
    const target = connect(await listening(server), '127.0.0.1').on('error', () => {})
    const [peer] = (await accepted) as [Socket]
    return {
      target,
      peer,
      hurts: {
        'the target': () => target.destroy(),
        'with an error': () => target.destroy(new Error('on purpose')),
        'by a reset': () => target.resetAndDestroy(),
        'by the peer': () => peer.resetAndDestroy(),
      },
      close() {
        target.destroy()
        peer.destroy()
        server.close()
      },
    }
  },
  async 'a TLS socket'() {
    const server = tls.createServer(withoutCertificates.server)
    const accepted = once(server, 'secureConnection')
    const options = { ...withoutCertificates.client, port: await listening(server), host: '127.0.0.1' }
    const target = tls.connect(options).on('error', () => {})
    const [peer] = (await accepted) as [Socket]
    peer.on('error', () => {}).pause()
    return {
      target,
      peer,
      hurts: {
        'the target': () => target.destroy(),
        'with an error': () => target.destroy(new Error('on purpose')),
        'by the peer': () => peer.destroy(),
      },
      close() {
        target.destroy()
        peer.destroy()
        server.close()
      },
    }
  },
  async "a child's input"() {
    const child = spawn('cat', { stdio: ['pipe', 'pipe', 'ignore'] })
    child.stdin.on('error', () => {})
    child.stdout.pause()
    return {
      target: child.stdin,
      peer: child.stdout,
      hurts: { 'the target': () => child.stdin.destroy(), 'with the child': () => child.kill() },
      close: () => void child.kill(),
    }
  },
}

/** When it is destroyed: before the first byte is sent, when some are, when no more can be. */
const STAGES: Record<string, () => Promise<unknown>> = {
  'at once': async () => {},
  'after a turn': () => new Promise(setImmediate),
  'when all is full': () => new Promise((resolve) => setTimeout(resolve, 60)),
}

for (const [kind, open] of Object.entries(KINDS)) {
  test(`nothing of a buffer's next owner is sent: ${kind}`, async (t) => {
    const { hurts: ways, close: closeFirst } = await open()
    closeFirst()
    // One for all: a pool's pages take longer to come, with the first byte in each, than all that is done with them.
    const pool = new BufferPool({ size: SIZE, max: 2 * WRITES })
    for (const way of Object.keys(ways)) {
      for (const [stage, wait] of Object.entries(STAGES)) {
        const { target, peer, hurts, close } = await open()
        const writes = Array.from({ length: WRITES }, () => {
          const buffer = pool.acquire().fill('a')
          const written = pool.write(target, buffer).catch(() => {})
          pool.release(buffer) // counts after the write
          return written
        })
        await wait()
        hurts[way]!()
        let wrong = 0
        let received = 0
        peer.on('data', (chunk: Buffer) => {
          received += chunk.length
          wrong += chunk.indexOf(Buffer.alloc(16, CANARY)) < 0 ? 0 : 1
        })
        peer.pause()
        const next: Buffer[] = []
        for (let turn = 0; turn < 6; turn++) {
          await new Promise((resolve) => setTimeout(resolve, turn))
          for (let buffer = pool.tryAcquire(); buffer !== undefined; buffer = pool.tryAcquire())
            next.push(buffer.fill(CANARY))
        }
        peer.resume()
        for (let before = -1; before !== received; ) {
          before = received
          await new Promise((resolve) => setTimeout(resolve, 20))
        }
        close()
        await Promise.all(writes)
        t.is(wrong, 0, `${way}, ${stage}`)
        for (const buffer of next) pool.release(buffer)
        await isWhole(t, pool)
      }
    }
    pool.close()
  })
}
