import { File } from 'node:buffer'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import http from 'node:http'
import { buffer } from 'node:stream/consumers'
import { gunzipSync, gzipSync } from 'node:zlib'
import { type ApiGroup, expect, expectBytes, type Memory, SAMPLE, TEXT, withServer } from './api.ts'

/** The part of WebSocket that is used here; the types of Node 20 don't know it. */
interface WebSocketLike extends EventTarget {
  send(data: Uint8Array): void
  close(): void
}
const { WebSocket } = globalThis as unknown as { WebSocket: new (url: string) => WebSocketLike }

const WEBSOCKET_GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'

/** What comes out of a transformer that is given one chunk. */
async function transformed<T>(
  { readable, writable }: { readable: ReadableStream; writable: WritableStream },
  chunk: unknown
): Promise<T[]> {
  const writer = writable.getWriter()
  // Where it is refused both ends fail: one of them is reported, the other must not go unheard.
  const written = Promise.all([writer.write(chunk), writer.close()])
  written.catch(() => {})
  const parts: T[] = []
  for await (const part of readable) parts.push(part)
  await written
  return parts
}

/** The body of the one request that `send` makes. */
async function requested(send: (url: string) => Promise<unknown>): Promise<Buffer> {
  const server = http.createServer()
  return withServer(server, async (port) => {
    const body = once(server, 'request').then(async ([request, response]) => {
      const bytes = await buffer(request)
      response.end()
      return bytes
    })
    await send(`http://127.0.0.1:${port}/`)
    return body
  })
}

/** The payload of the first frame that a client sends: the least of a server for it. */
async function frameSent(send: (socket: WebSocketLike) => void): Promise<Buffer> {
  const server = http.createServer()
  return withServer(server, async (port) => {
    const upgrade = once(server, 'upgrade')
    const client = new WebSocket(`ws://127.0.0.1:${port}/`)
    const opened = new Promise((resolve) => client.addEventListener('open', resolve))
    const [request, socket] = await upgrade
    try {
      const accept = createHash('sha1')
        .update(request.headers['sec-websocket-key'] + WEBSOCKET_GUID)
        .digest('base64')
      socket.write(
        `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`
      )
      await opened
      send(client)
      let bytes = Buffer.alloc(0)
      for await (const chunk of socket) {
        bytes = Buffer.concat([bytes, chunk])
        const payload = framePayload(bytes)
        if (payload !== undefined) return payload
      }
      return bytes
    } finally {
      socket.destroy()
    }
  })
}

/** The unmasked payload of a client's frame of 126 to 65535 bytes; undefined while bytes are missing. */
function framePayload(frame: Buffer): Buffer | undefined {
  if (frame.length < 8) return undefined
  expect((frame[0]! & 0x0f) === 2 && (frame[1]! & 0x7f) === 126, 'it is not a binary frame of this length')
  const length = frame.readUInt16BE(2)
  if (frame.length < 8 + length) return undefined
  return Buffer.from(frame.subarray(8, 8 + length).map((byte, i) => byte ^ frame[4 + (i & 3)]!))
}

function chunkStream(memory: Memory): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller) {
      controller.enqueue(memory.holding())
      controller.close()
    },
  })
}

async function decoded(memory: Memory): Promise<void> {
  const text = await transformed<string>(new TextDecoderStream(), memory.holding(TEXT))
  expectBytes(text.join(''), TEXT)
}

export const webApis: ApiGroup = {
  title: 'Web APIs',
  apis: [
    {
      name: 'fetch, body',
      use: async (memory) =>
        expectBytes(await requested((url) => fetch(url, { method: 'POST', body: memory.holding() }))),
    },
    {
      name: 'new Response',
      use: async (memory) => expectBytes(await new Response(memory.holding()).arrayBuffer()),
    },
    {
      name: 'new Response, a Uint8Array',
      use: async (memory) => {
        const { buffer, byteOffset, length } = memory.holding()
        expectBytes(await new Response(new Uint8Array(buffer, byteOffset, length)).arrayBuffer())
      },
    },
    {
      name: 'new Request, body',
      use: async (memory) =>
        expectBytes(await new Request('http://a/', { method: 'POST', body: memory.holding() }).arrayBuffer()),
    },
    {
      name: 'new Response, its body read in parts',
      async use(memory) {
        const parts: Uint8Array[] = []
        for await (const part of new Response(memory.holding()).body!) parts.push(part)
        expectBytes(Buffer.concat(parts))
      },
    },
    {
      name: 'new Response, clone',
      async use(memory) {
        const response = new Response(memory.holding())
        const [one, other] = await Promise.all([response.clone().arrayBuffer(), response.arrayBuffer()])
        expectBytes(one)
        expectBytes(other)
      },
    },
    {
      name: 'new Response of a ReadableStream of buffers',
      use: async (memory) => expectBytes(await new Response(chunkStream(memory)).arrayBuffer()),
    },
    {
      name: 'fetch, a ReadableStream of buffers as body',
      use: async (memory) =>
        expectBytes(
          await requested((url) =>
            fetch(url, { method: 'POST', body: chunkStream(memory), duplex: 'half' } as RequestInit)
          )
        ),
    },
    {
      name: 'FormData, a Blob of a buffer',
      async use(memory) {
        const form = new FormData()
        form.set('file', new Blob([memory.holding()]))
        const file = (await new Response(form).formData()).get('file') as unknown as Blob
        expectBytes(await file.arrayBuffer())
      },
    },
    {
      name: 'new Blob',
      use: async (memory) => expectBytes(await new Blob([memory.holding()]).arrayBuffer()),
    },
    {
      name: 'new File',
      use: async (memory) => expectBytes(await new File([memory.holding()], 'name').arrayBuffer()),
    },
    {
      name: 'new Response of a Blob of a buffer',
      use: async (memory) => expectBytes(await new Response(new Blob([memory.holding()])).arrayBuffer()),
    },
    {
      name: 'WebSocket.send',
      since: 22,
      exists: () => 'WebSocket' in globalThis,
      use: async (memory) => expectBytes(await frameSent((socket) => socket.send(memory.holding()))),
    },
    {
      name: 'TextDecoder.decode, UTF-8',
      use(memory) {
        expectBytes(new TextDecoder('utf-8', { fatal: true }).decode(memory.holding(TEXT)), TEXT)
        expectBytes(new TextDecoder().decode(memory.holding()), new TextDecoder().decode(Buffer.from(SAMPLE)))
      },
    },
    {
      name: 'TextDecoder.decode, UTF-16',
      use: (memory) =>
        expectBytes(new TextDecoder('utf-16le').decode(memory.holding(Buffer.from(TEXT, 'utf16le'))), TEXT),
    },
    {
      name: 'TextDecoder.decode, other encodings',
      use(memory) {
        for (const encoding of ['windows-1252', 'koi8-r', 'shift_jis']) {
          const wanted = new TextDecoder(encoding).decode(Buffer.from(SAMPLE))
          expectBytes(new TextDecoder(encoding).decode(memory.holding()), wanted)
        }
      },
    },
    {
      name: 'TextDecoder.decode, a stream of pieces',
      use(memory) {
        const decoder = new TextDecoder('utf-8', { fatal: true })
        const bytes = Buffer.from(TEXT)
        const parts = Array.from(bytes, (byte) => decoder.decode(memory.holding(Buffer.from([byte])), { stream: true }))
        expectBytes(parts.join('') + decoder.decode(), TEXT)
      },
    },
    { name: 'TextDecoderStream', use: decoded },
    {
      name: 'TextEncoder.encodeInto',
      use(memory) {
        const room = memory.room(Buffer.byteLength(TEXT))
        const { written } = new TextEncoder().encodeInto(TEXT, room)
        expect(written === room.length, 'bytes are missing')
        expectBytes(room, TEXT)
      },
    },
    {
      name: 'TransformStream, WritableStream',
      async use(memory) {
        expectBytes(Buffer.concat(await transformed<Uint8Array>(new TransformStream(), memory.holding())))
      },
    },
    {
      name: 'CompressionStream',
      async use(memory) {
        const packed = await transformed<Uint8Array>(new CompressionStream('gzip'), memory.holding())
        expectBytes(gunzipSync(Buffer.concat(packed)))
      },
    },
    {
      name: 'DecompressionStream',
      async use(memory) {
        const packed = memory.holding(gzipSync(SAMPLE))
        expectBytes(Buffer.concat(await transformed<Uint8Array>(new DecompressionStream('gzip'), packed)))
      },
    },
  ],
}
