import { spawn } from 'node:child_process'
import { createCipheriv, createDecipheriv } from 'node:crypto'
import { once } from 'node:events'
import { createReadStream, createWriteStream, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { open } from 'node:fs/promises'
import http from 'node:http'
import http2 from 'node:http2'
import { createRequire } from 'node:module'
import net, { type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import stream, { Duplex, PassThrough, Readable, Transform, Writable } from 'node:stream'
import tls from 'node:tls'
import zlib from 'node:zlib'
import bl from 'bl'
import { Minipass } from 'minipass'
import { transform as through2 } from 'through2'
import type { BufferPool, ReadSource } from '../../lib/index.ts'

// biome-ignore lint/suspicious/noExplicitAny: these packages have no types
const load = createRequire(import.meta.url) as (name: string) => any
const readable = load('readable-stream')
const streamx = load('streamx')
const duplexify = load('duplexify')
const pumpify = load('pumpify')
const pump = load('pump')
const split2 = load('split2')
const concat = load('concat-stream')
const endOfStream = load('end-of-stream')

/** What is written to, and where the same bytes come out. */
export interface Line {
  input: Target
  /** Undefined if only `result` tells what came. */
  output: ReadSource | undefined
  /** All that came out of what has no output, once the input has ended. */
  result?: () => Buffer | Promise<Buffer>
  /** Ways to end it at any time, each as a program might. */
  hurts: (() => void)[]
  /** Ends whatever is left of it. */
  close(): void | Promise<void>
}

export type Target = Writable | Awaited<ReturnType<typeof open>>
export type Next = () => number
type Opener = (next: Next, pool: BufferPool) => Line | Promise<Line>

const nothing = () => {}
const destroyOf = (...streams: (Partial<Writable> | undefined)[]) =>
  streams.flatMap((one) =>
    one?.destroy === undefined ? [] : [() => void one.destroy!(), () => void one.destroy!(new Error('on purpose'))]
  )

/** One stream that is written to and read, and others that it consists of. */
function lineOf(input: unknown, output: unknown = input, ...inner: unknown[]): Line {
  const streams = [...new Set([input, output, ...inner])] as Writable[]
  for (const one of streams) one.on?.('error', nothing)
  return {
    input: input as Writable,
    output: output as ReadSource,
    hurts: destroyOf(...streams),
    close: () => {
      for (const one of streams) one.destroy?.()
    },
  }
}

/** Passes on what it gets, some of it late, and now and then fails. */
function passing(next: Next, of: typeof Duplex = Duplex): Duplex {
  const fails = next() % 4 === 0 ? next() % 20 : -1
  let chunks = 0
  return new of({
    highWaterMark: 1 + (next() % 65536),
    read() {},
    write(chunk, _, callback) {
      const isLate = next() % 3 === 0
      const pass = () => {
        if (chunks++ === fails) return callback(new Error('on purpose'))
        this.push(chunk)
        callback()
      }
      if (isLate) setTimeout(pass, next() % 3)
      else pass()
    },
    final(callback) {
      this.push(null)
      callback()
    },
  })
}

async function listening<S extends net.Server>(server: S): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

/** Both ends of a connection. */
async function socketPair(
  server: net.Server,
  connect: (port: number) => net.Socket,
  accepted: Promise<unknown[]> = once(server, 'connection')
): Promise<Line> {
  const input = connect(await listening(server))
  input.on('error', nothing)
  const [output] = (await accepted) as [net.Socket]
  server.close()
  const line = lineOf(input, output)
  if (input.remotePort !== undefined && !(input instanceof tls.TLSSocket)) {
    line.hurts.push(
      () => output.resetAndDestroy(),
      () => input.resetAndDestroy()
    )
  }
  return line
}

const KEY = Buffer.alloc(16, 1)
const PSK = { ciphers: 'PSK', minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' } as const

/** TLS without certificates: the options of both ends. */
export const withoutCertificates = {
  server: { ...PSK, pskCallback: () => KEY, pskIdentityHint: 'hint' } as tls.TlsOptions,
  client: {
    ...PSK,
    pskCallback: () => ({ psk: KEY, identity: 'one' }),
    checkServerIdentity: () => undefined,
  } as tls.ConnectionOptions,
}

function folderOf(): string {
  return mkdtempSync(join(tmpdir(), 'spanheap-streams-'))
}

/** A request or a response of HTTP/1 or 2, whichever is written to, and what comes out of it. */
async function http1(way: 'request' | 'response'): Promise<Line> {
  const server = http.createServer().on('clientError', nothing)
  const port = await listening(server)
  const asked = once(server, 'request')
  const request = http.request({ port, host: '127.0.0.1', method: 'POST', agent: false })
  request.on('error', nothing)
  if (way === 'request') request.write('x')
  else request.end('x')
  const [message, response] = (await asked) as [http.IncomingMessage, http.ServerResponse]
  const sockets = [request.socket!, message.socket]
  server.close()
  if (way === 'request') {
    message.once('close', () => response.end())
    request.on('response', (answer: http.IncomingMessage) => answer.resume())
    await once(message, 'readable')
    message.read(1)
    return lineOf(request, message, response, ...sockets)
  }
  message.resume()
  const answered = once(request, 'response')
  response.flushHeaders()
  const [answer] = (await answered) as [http.IncomingMessage]
  return lineOf(response, answer, request, ...sockets)
}

async function overHttp2(way: 'request' | 'stream' | 'response'): Promise<Line> {
  const server = http2.createServer().on('sessionError', nothing)
  const sessions: http2.Http2Session[] = []
  server.on('session', (session) => sessions.push(session.on('error', nothing)))
  const port = await listening(server)
  const client = http2.connect(`http://127.0.0.1:${port}`).on('error', nothing)
  sessions.push(client)
  const event = once(server, way === 'response' ? 'request' : 'stream')
  const request = client.request({ ':method': 'POST' }, { endStream: way !== 'request' })
  request.on('error', nothing)
  const [given, response] = (await event) as [http2.ServerHttp2Stream, http2.Http2ServerResponse]
  let line: Line
  if (way === 'request') {
    given.respond()
    line = lineOf(request, given)
    given.once('end', () => given.end())
    request.resume()
  } else if (way === 'stream') {
    given.respond()
    line = lineOf(given, request)
  } else line = lineOf(response, request, response.stream)
  line.hurts.push(
    () => request.close(8),
    () => client.destroy(),
    () => sessions[0]!.destroy(),
    () => sessions[0]!.close()
  )
  const { close } = line
  line.close = async () => {
    await close()
    for (const session of sessions) session.destroy()
    server.close()
  }
  return line
}

const KEY_OF_CIPHER = [Buffer.alloc(32, 2), Buffer.alloc(16, 3)] as const

/** What takes the input of a stream, and gives the bytes that it was made from. */
function chained(first: Duplex, second: Duplex): Line {
  first.pipe(second)
  first.on('error', () => second.destroy())
  return lineOf(first, second)
}

/** Collects what is written. */
function collecting(made: (got: Buffer[]) => unknown): Line {
  const got: Buffer[] = []
  const input = made(got) as Writable
  return { ...lineOf(input), output: undefined, result: () => Buffer.concat(got) }
}

/** All of Node's own streams that bytes can be written to. */
export const NODE: Record<string, Opener> = {
  PassThrough: () => lineOf(new PassThrough()),
  Transform: (next) =>
    lineOf(new Transform({ transform: (chunk, _, done) => void setTimeout(done, next() % 2, null, chunk) })),
  'a Duplex that passes on': (next) => lineOf(passing(next)),
  'a Writable that keeps what it gets': () =>
    collecting(
      (got) =>
        new Writable({
          write(chunk, _, callback) {
            got.push(chunk)
            setImmediate(callback)
          },
        })
    ),
  'a Writable that forgets its callbacks': () =>
    collecting((got) => new Writable({ write: (chunk) => void got.push(chunk), final() {} })),
  'a Writable of many chunks': () =>
    collecting(
      (got) =>
        new Writable({
          writev(chunks, callback) {
            for (const { chunk } of chunks) got.push(chunk)
            setTimeout(callback, 1)
          },
        })
    ),
  'stream.compose'(next) {
    const parts = [new PassThrough(), passing(next)]
    return lineOf((stream as unknown as { compose(...parts: Duplex[]): Duplex }).compose(...parts), undefined, ...parts)
  },
  'Duplex.from two streams'() {
    const inner = new PassThrough()
    return lineOf(Duplex.from({ writable: inner, readable: inner }), undefined, inner)
  },
  'Duplex.from a generator': () =>
    lineOf(
      Duplex.from(async function* (source: AsyncIterable<Uint8Array>) {
        for await (const chunk of source) yield chunk
      })
    ),
  duplexPair(next) {
    const { duplexPair } = stream as unknown as { duplexPair?: () => [Duplex, Duplex] }
    return duplexPair === undefined ? lineOf(passing(next)) : lineOf(...duplexPair())
  },
  'a web stream'() {
    const { writable, readable: out } = new TransformStream()
    return lineOf(Writable.fromWeb(writable), Readable.fromWeb(out as never))
  },
  'a CompressionStream'() {
    const [packed, unpacked] = [new CompressionStream('gzip'), new DecompressionStream('gzip')]
    const out = packed.readable.pipeThrough(unpacked as never)
    return lineOf(Writable.fromWeb(packed.writable as never), Readable.fromWeb(out as never))
  },
  socket: () => socketPair(net.createServer(), (port) => net.connect(port, '127.0.0.1')),
  'socket of a pool'(_, pool) {
    let accept!: (sockets: net.Socket[]) => void
    const accepted = new Promise<net.Socket[]>((resolve) => {
      accept = resolve
    })
    const server = pool.createServer((socket) => accept([socket]))
    return socketPair(server, (port) => pool.connect({ port, host: '127.0.0.1' }), accepted)
  },
  'socket by a path'(next) {
    const server = net.createServer()
    const path = join(folderOf(), `${next()}`)
    return socketPair(
      Object.assign(server, {
        listen: () => net.Server.prototype.listen.call(server, path),
        address: () => ({ port: 0 }),
      }),
      () => net.connect(path)
    )
  },
  tls() {
    const server = tls.createServer(withoutCertificates.server)
    const connect = (port: number) => tls.connect({ ...withoutCertificates.client, port, host: '127.0.0.1' })
    return socketPair(server, connect, once(server, 'secureConnection'))
  },
  async 'tls over a Duplex'() {
    const server = tls.createServer(withoutCertificates.server)
    const accepted = once(server, 'secureConnection')
    const [one, other] = [passingPair(), passingPair()]
    const there = joined(one, other)
    const input = tls.connect({ ...withoutCertificates.client, socket: joined(other, one) })
    input.on('error', nothing)
    server.emit('connection', there)
    const [output] = await accepted
    return lineOf(input, output, there)
  },
  'http request': () => http1('request'),
  'http response': () => http1('response'),
  'http2 request': () => overHttp2('request'),
  'http2 stream': () => overHttp2('stream'),
  'http2 response': () => overHttp2('response'),
  async "a child's input"() {
    const child = spawn('cat', { stdio: ['pipe', 'pipe', 'ignore'] })
    const line = lineOf(child.stdin, child.stdout)
    line.hurts.push(() => child.kill())
    return line
  },
  gzip: () => chained(zlib.createGzip({ level: 1 }), zlib.createGunzip()),
  deflate: (next) =>
    chained(zlib.createDeflateRaw({ level: 0, chunkSize: 1024 + (next() % 8192) }), zlib.createInflateRaw()),
  brotli: () =>
    chained(
      zlib.createBrotliCompress({ params: { [zlib.constants.BROTLI_PARAM_QUALITY]: 0 } }),
      zlib.createBrotliDecompress()
    ),
  zstd() {
    const { createZstdCompress, createZstdDecompress } = zlib as unknown as Record<string, (() => Duplex) | undefined>
    if (createZstdCompress === undefined) return chained(zlib.createDeflate(), zlib.createInflate())
    return chained(createZstdCompress(), createZstdDecompress!())
  },
  'gunzip of what is no gzip': () => ({
    ...lineOf(zlib.createGunzip()),
    output: undefined,
    result: () => Buffer.alloc(0),
  }),
  cipher: () =>
    chained(createCipheriv('aes-256-cbc', ...KEY_OF_CIPHER), createDecipheriv('aes-256-cbc', ...KEY_OF_CIPHER)),
  async 'file stream'() {
    const folder = folderOf()
    const path = join(folder, 'file')
    const input = createWriteStream(path, { highWaterMark: 20_000 })
    return {
      ...lineOf(input),
      output: undefined,
      result: () => {
        const got = readFileSync(path)
        rmSync(folder, { recursive: true })
        return got
      },
    }
  },
  async FileHandle(next) {
    const folder = folderOf()
    const file = await open(join(folder, 'file'), 'w+')
    const close = () => file.close().then(() => rmSync(folder, { recursive: true, force: true }), nothing)
    return {
      input: file,
      output: undefined,
      hurts: [() => void file.close().catch(nothing)],
      result: () => readFileSync(join(folder, 'file')),
      close: next() % 2 === 0 ? close : () => void close(),
    }
  },
  async 'stream of a FileHandle'() {
    const folder = folderOf()
    const path = join(folder, 'file')
    const file = await open(path, 'w+')
    return {
      ...lineOf(file.createWriteStream()),
      output: undefined,
      result: () => readFileSync(path),
    }
  },
  async 'file stream that is read'(next) {
    const folder = folderOf()
    const path = join(folder, 'file')
    const [input, output] = [createWriteStream(path), new PassThrough()]
    input.once('close', () =>
      createReadStream(path, { highWaterMark: 1 + (next() % 70_000) })
        .on('error', nothing)
        .pipe(output)
    )
    return lineOf(input, output)
  },
}

/** Both directions of a connection. */
function passingPair(): PassThrough {
  return new PassThrough()
}

function joined(input: PassThrough, output: PassThrough): Duplex {
  return Duplex.from({ readable: input, writable: output }).on('error', nothing)
}

/** Streams of npm's packages. */
export const PACKAGES: Record<string, Opener> = {
  'readable-stream PassThrough': () => lineOf(new readable.PassThrough()),
  'readable-stream Duplex': (next) => lineOf(passing(next, readable.Duplex)),
  'readable-stream compose': (next) =>
    lineOf(readable.compose(new readable.PassThrough(), passing(next, readable.Duplex))),
  'readable-stream Writable': () =>
    collecting(
      (got) =>
        new readable.Writable({
          write(chunk: Buffer, _: string, callback: () => void) {
            got.push(chunk)
            setImmediate(callback)
          },
        })
    ),
  through2: (next) =>
    lineOf(
      through2(
        (chunk: unknown, _: string, done: (error: null, chunk: unknown) => void) =>
          void setTimeout(() => done(null, chunk), next() % 2)
      )
    ),
  'streamx PassThrough': () => lineOf(new streamx.PassThrough()),
  'streamx Duplex': (next) =>
    lineOf(
      new streamx.Duplex({
        write(chunk: Buffer, callback: () => void) {
          this.push(chunk)
          setTimeout(callback, next() % 2)
        },
        final(callback: () => void) {
          this.push(null)
          callback()
        },
      })
    ),
  'streamx Writable': (next) =>
    collecting(
      (got) =>
        new streamx.Writable({
          write(chunk: Buffer, callback: (error: Error | null) => void) {
            got.push(chunk)
            setTimeout(callback, next() % 2, next() % 30 === 0 ? new Error('on purpose') : null)
          },
        })
    ),
  'streamx pipeline'() {
    const parts = [new streamx.PassThrough(), new streamx.PassThrough()]
    streamx.pipeline(...parts, nothing)
    return lineOf(parts[0], parts[1])
  },
  duplexify(next) {
    const inner = passing(next)
    const outer = duplexify()
    setTimeout(() => {
      outer.setWritable(inner)
      outer.setReadable(inner)
    }, next() % 3)
    return lineOf(outer, undefined, inner)
  },
  pumpify: (next) =>
    lineOf(pumpify(new PassThrough(), zlib.createGzip({ level: 0 }), zlib.createGunzip(), passing(next))),
  pump(next) {
    const parts = [new PassThrough(), passing(next), new readable.PassThrough()]
    pump(parts, nothing)
    return lineOf(parts[0], parts[2])
  },
  'end-of-stream'() {
    const input = new readable.PassThrough()
    endOfStream(input, () => input.destroy())
    return lineOf(input)
  },
  split2() {
    // Each chunk begins with a character of its own.
    const lines = split2(/(?=\0)/, (line: string) => Buffer.from(line))
    return lineOf(lines)
  },
  'concat-stream'() {
    let all: Buffer | undefined
    const whole = concat((got: Buffer | never[]) => {
      all = Buffer.from(got) // an array, if nothing came
    })
    return { ...lineOf(whole), output: undefined, result: () => all! }
  },
  bl() {
    let all: Buffer | undefined
    const list = new bl((_, got) => {
      all = got
    })
    return { ...lineOf(list), output: undefined, result: () => all! }
  },
  minipass: () => lineOf(new Minipass()),
  'minipass, later'() {
    // Its iterator loses the last chunk.
    const [input, output] = [new Minipass({ async: true }), new PassThrough()]
    input.pipe(output)
    return lineOf(input, output)
  },
}
