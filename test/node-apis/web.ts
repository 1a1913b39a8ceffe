import { File } from 'node:buffer'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import http from 'node:http'
import { buffer } from 'node:stream/consumers'
import type { ReadableStreamDefaultReader } from 'node:stream/web'
import { gunzipSync, gzipSync } from 'node:zlib'
import { type ApiGroup, type Exception, expect, expectBytes, type Memory, SAMPLE, TEXT, withServer } from './api.ts'

/** The part of WebSocket that is used here; the types of Node 20 don't know it. */
interface WebSocketLike extends EventTarget {
  send(data: Uint8Array): void
  close(): void
}
const { WebSocket } = globalThis as unknown as { WebSocket: new (url: string) => WebSocketLike }

const WEBSOCKET_GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'

/** From 24 on the body is made of the view's text: bytes that are not UTF-8 are lost, and there is no error. */
const BODY: readonly Exception[] = [
  { from: 20, to: 22, outcome: 'refused: TypeError' },
  { from: 24, outcome: 'wrong' },
]
const BYTE_STREAM: readonly Exception[] = [
  { from: 20, to: 22, outcome: 'refused: TypeError' },
  { from: 24, outcome: 'refused: ERR_INVALID_ARG_VALUE' },
]
/** A byte stream takes what it is given out of the giver's hands, by a transfer of the whole ArrayBuffer: all of the heap. */
const TAKEN: readonly Exception[] = [{ from: 20, outcome: 'detached' }]
const COMPRESSION: readonly Exception[] = [{ from: 24, outcome: 'refused: ERR_INVALID_ARG_TYPE' }]

/** All that a reader still gives. */
async function rest(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = []
  for (;;) {
    const { done, value } = await reader.read()
    if (done) return Buffer.concat(parts)
    parts.push(value)
  }
}

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

async function decoded(memory: Memory): Promise<void> {
  const text = await transformed<string>(new TextDecoderStream(), memory.holding(TEXT))
  expectBytes(text.join(''), TEXT)
}

export const webApis: ApiGroup = {
  title: 'Web APIs',
  apis: [
    {
      name: 'fetch, body',
      shared: BODY,
      use: async (memory) =>
        expectBytes(await requested((url) => fetch(url, { method: 'POST', body: memory.holding() }))),
    },
    {
      name: 'new Response',
      shared: BODY,
      use: async (memory) => expectBytes(await new Response(memory.holding()).arrayBuffer()),
    },
    {
      name: 'new Response, a Uint8Array',
      shared: BODY,
      use: async (memory) => {
        const { buffer, byteOffset, length } = memory.holding()
        expectBytes(await new Response(new Uint8Array(buffer, byteOffset, length)).arrayBuffer())
      },
    },
    {
      name: 'new Request, body',
      shared: BODY,
      use: async (memory) =>
        expectBytes(await new Request('http://a/', { method: 'POST', body: memory.holding() }).arrayBuffer()),
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
      // From 24 on a frame of text goes out, as with bodies.
      shared: [
        { from: 22, to: 22, outcome: 'refused: TypeError' },
        { from: 24, outcome: 'wrong' },
      ],
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
      name: 'ReadableStream, enqueue',
      async use(memory) {
        const stream = new ReadableStream<Uint8Array>({
          start(controller) {
            controller.enqueue(memory.holding())
            controller.close()
          },
        })
        expectBytes(await rest(stream.getReader()))
      },
    },
    {
      name: "ReadableStream of type 'bytes', enqueue",
      shared: BYTE_STREAM,
      private: TAKEN,
      async use(memory) {
        const stream = new ReadableStream({
          type: 'bytes',
          start(controller) {
            controller.enqueue(memory.holding())
            controller.close()
          },
        })
        expectBytes(await rest(stream.getReader()))
      },
    },
    {
      name: "ReadableStream of type 'bytes', BYOB read",
      shared: BYTE_STREAM,
      private: TAKEN,
      async use(memory) {
        const stream = new ReadableStream({
          type: 'bytes',
          start: (controller) => controller.enqueue(new Uint8Array(SAMPLE)),
        })
        const { value } = await stream.getReader({ mode: 'byob' }).read(memory.room())
        expectBytes(value as Uint8Array)
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
      shared: COMPRESSION,
      async use(memory) {
        const packed = await transformed<Uint8Array>(new CompressionStream('gzip'), memory.holding())
        expectBytes(gunzipSync(Buffer.concat(packed)))
      },
    },
    {
      name: 'DecompressionStream',
      shared: COMPRESSION,
      async use(memory) {
        const packed = memory.holding(gzipSync(SAMPLE))
        expectBytes(Buffer.concat(await transformed<Uint8Array>(new DecompressionStream('gzip'), packed)))
      },
    },
  ],
}
