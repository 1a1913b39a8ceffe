import { execFileSync, spawn, spawnSync } from 'node:child_process'
import dgram from 'node:dgram'
import { once } from 'node:events'
import http from 'node:http'
import http2 from 'node:http2'
import net from 'node:net'
import { buffer } from 'node:stream/consumers'
import tls from 'node:tls'
import { promisify } from 'node:util'
import { type ApiGroup, expect, expectBytes, type Memory, SAMPLE, withServer } from './api.ts'

const HALF = SAMPLE.length / 2
const ECHO = 'process.stdin.pipe(process.stdout)'

/** What the other end of a connection gets of what `send` does. */
function sent(send: (socket: net.Socket) => void): Promise<Buffer> {
  const server = net.createServer()
  return withServer(server, async (port) => {
    const socket = net.connect(port, '127.0.0.1')
    try {
      const [peer] = await once(server, 'connection')
      send(socket)
      return await buffer(peer)
    } finally {
      socket.destroy()
    }
  })
}

/** Keys known to both ends beforehand: no certificate that would expire. */
function tlsSent(send: (socket: tls.TLSSocket) => void): Promise<Buffer> {
  const psk = Buffer.alloc(16, 7)
  const common = { ciphers: 'PSK-AES128-GCM-SHA256', maxVersion: 'TLSv1.2' } as const
  const server = tls.createServer({ ...common, pskCallback: () => psk })
  return withServer(server, async (port) => {
    const socket = tls.connect({
      ...common,
      port,
      host: '127.0.0.1',
      pskCallback: () => ({ psk, identity: 'test' }),
      checkServerIdentity: () => undefined,
    })
    try {
      const [peer] = await once(server, 'secureConnection')
      send(socket)
      return await buffer(peer)
    } finally {
      socket.destroy()
    }
  })
}

async function datagram(send: (socket: dgram.Socket, port: number) => void): Promise<Buffer> {
  const receiver = dgram.createSocket('udp4')
  const sender = dgram.createSocket('udp4')
  try {
    receiver.bind(0, '127.0.0.1')
    await once(receiver, 'listening')
    const message = once(receiver, 'message')
    send(sender, receiver.address().port)
    return (await message)[0]
  } finally {
    receiver.close()
    sender.close()
  }
}

/** A server that answers with what it is sent. */
async function httpEcho(send: (request: http.ClientRequest) => void): Promise<Buffer> {
  const server = http.createServer((request, response) => request.pipe(response))
  return withServer(server, async (port) => {
    const request = http.request({ port, host: '127.0.0.1', method: 'POST', agent: false })
    const response = once(request, 'response')
    send(request)
    return buffer((await response)[0])
  })
}

/** A server that answers by `answer`; errors in it are the caller's. */
async function httpAnswer(answer: (response: http.ServerResponse) => void): Promise<Buffer> {
  const server = http.createServer()
  return withServer(server, async (port) => {
    const request = http.get({ port, host: '127.0.0.1', agent: false })
    const response = once(request, 'response')
    answer((await once(server, 'request'))[1])
    return buffer((await response)[0])
  })
}

/** One stream of HTTP/2 to a server and back. */
async function http2Exchange(
  body: (stream: http2.ClientHttp2Stream) => void,
  answer: (stream: http2.ServerHttp2Stream) => void
): Promise<Buffer> {
  const server = http2.createServer()
  return withServer(server, async (port) => {
    const session = http2.connect(`http://127.0.0.1:${port}`)
    try {
      const client = session.request({ ':method': 'POST' })
      const [stream] = await once(server, 'stream')
      const answered = buffer(client)
      body(client)
      answer(stream)
      return await answered
    } finally {
      session.destroy()
    }
  })
}

const first = (memory: Memory) => memory.holding(SAMPLE.subarray(0, HALF))
const second = (memory: Memory) => memory.holding(SAMPLE.subarray(HALF))

export const netApis: ApiGroup = {
  title: 'Network and processes',
  apis: [
    {
      name: 'net.Socket.write',
      use: async (memory) => expectBytes(await sent((socket) => socket.end(memory.holding()))),
    },
    {
      name: 'net.Socket.write, corked',
      use: async (memory) =>
        expectBytes(
          await sent((socket) => {
            socket.cork()
            socket.write(first(memory))
            socket.write(second(memory))
            socket.end()
          })
        ),
    },
    {
      name: 'net.connect, onread into a buffer',
      async use(memory) {
        const room = memory.room(300)
        const parts: Buffer[] = []
        const server = net.createServer((peer) => peer.end(SAMPLE))
        await withServer(server, async (port) => {
          const callback = (bytes: number, view: Uint8Array) => {
            expect(view.buffer === room.buffer, 'it is another buffer')
            parts.push(Buffer.from(view.subarray(0, bytes)))
            return true
          }
          const socket = net.connect({ port, host: '127.0.0.1', onread: { buffer: room, callback } })
          await once(socket, 'close')
        })
        expectBytes(Buffer.concat(parts))
      },
    },
    {
      name: 'tls.TLSSocket.write',
      use: async (memory) => expectBytes(await tlsSent((socket) => socket.end(memory.holding()))),
    },
    {
      name: 'dgram.Socket.send',
      use: async (memory) => expectBytes(await datagram((socket, port) => socket.send(memory.holding(), port))),
    },
    {
      name: 'dgram.Socket.send, several buffers',
      use: async (memory) =>
        expectBytes(await datagram((socket, port) => socket.send([first(memory), second(memory)], port))),
    },
    {
      name: 'http.ClientRequest.end',
      use: async (memory) => expectBytes(await httpEcho((request) => request.end(memory.holding()))),
    },
    {
      name: 'http.ClientRequest.write',
      use: async (memory) =>
        expectBytes(
          await httpEcho((request) => {
            request.write(first(memory))
            request.end(second(memory))
          })
        ),
    },
    {
      name: 'http.ServerResponse.end',
      use: async (memory) => expectBytes(await httpAnswer((response) => response.end(memory.holding()))),
    },
    {
      name: 'http.ServerResponse.write',
      use: async (memory) =>
        expectBytes(
          await httpAnswer((response) => {
            response.write(first(memory))
            response.end(second(memory))
          })
        ),
    },
    {
      name: 'http2.ClientHttp2Stream.end',
      use: async (memory) =>
        expectBytes(
          await http2Exchange(
            (client) => client.end(memory.holding()),
            (stream) => stream.pipe(stream)
          )
        ),
    },
    {
      name: 'http2.ServerHttp2Stream.end',
      use: async (memory) =>
        expectBytes(
          await http2Exchange(
            (client) => client.end(),
            (stream) => stream.end(memory.holding())
          )
        ),
    },
    {
      name: 'child_process.spawn, stdin',
      async use(memory) {
        const child = spawn(process.execPath, ['-e', ECHO], { stdio: ['pipe', 'pipe', 'ignore'] })
        child.stdin.end(memory.holding())
        expectBytes(await buffer(child.stdout))
      },
    },
    {
      name: 'child_process.spawnSync, input',
      use: (memory) => expectBytes(spawnSync(process.execPath, ['-e', ECHO], { input: memory.holding() }).stdout),
    },
    {
      name: 'child_process.execFileSync, input',
      use: (memory) => expectBytes(execFileSync(process.execPath, ['-e', ECHO], { input: memory.holding() })),
    },
    {
      name: 'dgram.Socket.send, a part of a buffer',
      use: async (memory) =>
        expectBytes(
          await datagram((socket, port) => socket.send(memory.holding(), 100, 200, port)),
          SAMPLE.subarray(100, 300)
        ),
    },
    {
      name: 'http2.Http2Session.ping',
      use: (memory) =>
        withServer(http2.createServer(), async (port) => {
          const session = http2.connect(`http://127.0.0.1:${port}`)
          try {
            await once(session, 'connect')
            const payload = memory.holding(SAMPLE.subarray(0, 8))
            const ping = promisify<Buffer, Buffer>((bytes, done) =>
              session.ping(bytes, (error, _, answer) => done(error, answer))
            )
            expectBytes(await ping(payload), SAMPLE.subarray(0, 8))
          } finally {
            session.destroy()
          }
        }),
    },
    {
      name: 'http2.getUnpackedSettings',
      use(memory) {
        const packed = http2.getPackedSettings({ initialWindowSize: 123456, maxFrameSize: 20000 })
        const { initialWindowSize, maxFrameSize } = http2.getUnpackedSettings(memory.holding(packed))
        expect(initialWindowSize === 123456 && maxFrameSize === 20000, 'other settings')
      },
    },
    {
      name: 'tls.Server.setTicketKeys',
      use(memory) {
        const server = tls.createServer()
        server.setTicketKeys(memory.holding(SAMPLE.subarray(0, 48)))
        expectBytes(server.getTicketKeys(), SAMPLE.subarray(0, 48))
      },
    },
  ],
}
