// Operations over buffers of pools, in which everything is taken away while they run: `holds.js ROUNDS SEED`. Whatever is released,
// closed, aborted, destroyed or killed, no byte of one operation may be found in another's buffer. Reports how many operations there were.
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { finished } from 'node:stream/promises'
import { setImmediate, setTimeout } from 'node:timers/promises'
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads'
import { createDeflate, inflateSync } from 'node:zlib'
import { BufferPool, type PoolToken } from '../../lib/index.ts'
import { HOST } from '../../lib/lifetime/host.ts'
import { random } from '../support/churn.ts'

const SIZE = 64 * 1024
/** What the file is full of, from which is read. No other buffer is ever filled with it. */
const FILE_BYTE = 0xf1
/** What is written by an operation; what others fill their buffers with is below. */
const WRITTEN_BYTE = 0xe7

const [rounds, seed] = process.argv.slice(2).map(Number) as [number, number]
const counts: Record<string, number> = {}

interface Environment {
  file: FileHandle
  output: FileHandle
  port: number
  /** What the server has received that is none of what was written. */
  strange: { bytes: number }
}

/** Fills other buffers of a pool, and checks that nobody else writes to them. */
class Bystanders {
  private readonly buffers: { buffer: Buffer; byte: number }[] = []
  private readonly pool: BufferPool

  constructor(pool: BufferPool) {
    this.pool = pool
  }

  come(next: () => number): void {
    for (let i = 0; i < 3; i++) {
      let buffer: Buffer | undefined
      try {
        buffer = this.pool.tryAcquire()
      } catch {}
      if (buffer === undefined) return
      const byte = next() % 0x80
      buffer.fill(byte)
      this.buffers.push({ buffer, byte })
    }
  }

  check(what: string): void {
    // Of a heap that was closed the memory is nobody's.
    if (!this.pool.heap[HOST].isOpen) return
    for (const { buffer, byte } of this.buffers) {
      for (let at = 0; at < buffer.length; at++) {
        if (buffer[at] !== byte) throw new Error(`${what}: byte ${at} is ${buffer[at]}, and should be ${byte}`)
      }
    }
  }

  leave(): void {
    for (const { buffer } of this.buffers.splice(0)) if (this.pool.heap[HOST].isOpen) this.pool.release(buffer)
  }
}

/** An operation on an acquired buffer: its end, and how to hurt what it works with. */
interface Running {
  end: Promise<unknown>
  hurt(): void
}

const operations: Record<string, (pool: BufferPool, buffer: Buffer, signal: AbortSignal, at: Environment) => Running> =
  {
    'fs read'(pool, buffer, _, { file }) {
      // As a program does that reads by itself, and holds.
      const letGo = pool.hold(buffer)!
      return { end: file.read(buffer, 0, buffer.length, 0).finally(letGo), hurt() {} }
    },
    'fs write'(pool, buffer, signal, { output }) {
      buffer.fill(WRITTEN_BYTE)
      return { end: pool.write(output, buffer, { position: 0, signal }), hurt() {} }
    },
    'net write'(pool, buffer, signal, { port }) {
      buffer.fill(WRITTEN_BYTE)
      const socket = connect(port, '127.0.0.1').on('error', () => {})
      const end = pool.write(socket, buffer, { signal }).finally(() => socket.end())
      return { end, hurt: () => socket.destroy() }
    },
    'net read'(pool, buffer, signal, { port }) {
      pool.release(buffer)
      const socket = pool.connect({ port, host: '127.0.0.1' }).on('error', () => {})
      socket.write(Buffer.of(1))
      const read = async () => {
        for await (const chunk of pool.read(socket, { signal })) {
          for (const byte of chunk) if (byte !== FILE_BYTE) throw new Error(`net read: ${byte} was received`)
        }
      }
      return { end: read().finally(() => socket.destroy()), hurt: () => socket.destroy() }
    },
    zlib(pool, buffer, signal) {
      buffer.fill(WRITTEN_BYTE)
      const deflate = createDeflate({ level: 1 }).on('error', () => {})
      const output: Buffer[] = []
      deflate.on('data', (chunk) => output.push(chunk))
      const ended = finished(deflate).then(() => {
        for (const byte of inflateSync(Buffer.concat(output)))
          if (byte !== WRITTEN_BYTE) throw new Error(`zlib: ${byte} was compressed`)
      })
      ended.catch(() => {})
      const end = pool.write(deflate, buffer, { signal }).then(() => {
        deflate.end()
        return ended
      })
      return { end, hurt: () => deflate.destroy() }
    },
  }

const hurts = ['release', 'close the pool', 'close the heap', 'abort', 'destroy', 'nothing'] as const

async function round(next: () => number, at: Environment): Promise<void> {
  const pool = new BufferPool({ size: SIZE, max: 16, trimMs: 0 })
  const bystanders = new Bystanders(pool)
  const names = Object.keys(operations)
  const name = names[next() % names.length]!
  const hurt = hurts[next() % hurts.length]!
  const what = `${name}, ${hurt}`
  counts[what] = (counts[what] ?? 0) + 1
  const controller = new AbortController()
  const buffer = pool.acquire()
  const { end, hurt: destroy } = operations[name]!(pool, buffer, controller.signal, at)
  const settled = end.catch((error: Error) => {
    if (/was (received|compressed)$/.test(error.message)) throw error
  })
  settled.catch(() => {})
  await waitABit(next)
  let isOurs = name !== 'net read'
  const release = () => {
    if (isOurs && pool.heap[HOST].isOpen) pool.release(buffer)
    isOurs = false
  }
  if (hurt === 'release') release()
  else if (hurt === 'close the pool') pool.close()
  else if (hurt === 'close the heap') pool.heap.close()
  else if (hurt === 'abort') controller.abort(new Error('on purpose'))
  else if (hurt === 'destroy') destroy()
  release()
  bystanders.come(next)
  await waitABit(next)
  bystanders.check(what)
  await settled
  // An operation that was aborted goes on.
  while (pool.stats().leased > 0) await setImmediate()
  bystanders.check(what)
  if (at.strange.bytes > 0) throw new Error(`${what}: ${at.strange.bytes} bytes that nobody wrote were sent`)
  bystanders.leave()
  if (pool.heap[HOST].isOpen && pool.stats().acquired > 0) throw new Error(`${what}: ${pool.stats().acquired} are lost`)
  await pool[Symbol.asyncDispose]()
  pool.heap.close()
}

/** A worker is killed while it reads into, and writes from, buffers of a shared pool; what it had is taken back, and used. */
async function killRound(next: () => number, at: Environment): Promise<void> {
  counts.kill = (counts.kill ?? 0) + 1
  const pool = new BufferPool({ size: SIZE, max: 16, trimMs: 0 })
  const worker = new Worker(new URL(import.meta.url), {
    workerData: { token: pool.share(), path: `/proc/self/fd/${at.file.fd}`, port: at.port },
  })
  worker.on('error', (error) => {
    throw error
  })
  await once(worker, 'message')
  const bystanders = new Bystanders(pool)
  await setTimeout(next() % 4)
  const killed = worker.terminate()
  // Before and after it is dead.
  pool.reclaim()
  bystanders.come(next)
  await killed
  pool.reclaim()
  bystanders.come(next)
  await waitABit(next)
  bystanders.check('kill')
  bystanders.leave()
  const { leased, acquired } = pool.stats()
  if (leased + acquired > 0) throw new Error(`kill: ${leased} leased and ${acquired} acquired are lost`)
  await pool[Symbol.asyncDispose]()
}

async function inWorker({ token, path, port }: { token: PoolToken; path: string; port: number }): Promise<void> {
  const pool = BufferPool.attach(token)
  const file = await open(path, 'r')
  const socket = connect(port, '127.0.0.1').on('error', () => {})
  parentPort!.postMessage('running')
  const reading = async () => {
    for (;;) for await (const _ of pool.read(file, { start: 0 }));
  }
  const writing = async () => {
    for (;;) {
      const lease = await pool.leaseAsync()
      lease.buffer.fill(WRITTEN_BYTE)
      await pool.write(socket, lease)
      lease.release()
    }
  }
  await Promise.all([reading(), reading(), writing()])
}

/** At once, after a turn of the loop, or after a moment. */
async function waitABit(next: () => number): Promise<void> {
  const choice = next() % 4
  if (choice === 1) await Promise.resolve()
  else if (choice === 2) await setImmediate()
  else if (choice === 3) await setTimeout(next() % 3)
}

function answer(socket: Socket, strange: Environment['strange']): void {
  socket.on('error', () => {})
  socket.on('data', (chunk: Buffer) => {
    if (chunk[0] === 1) socket.end(Buffer.alloc(2 * SIZE, FILE_BYTE))
    else for (const byte of chunk) if (byte !== WRITTEN_BYTE) strange.bytes++
  })
}

async function main(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'spanheap-'))
  const file = await open(join(folder, 'in'), 'w+')
  await file.write(Buffer.alloc(4 * SIZE, FILE_BYTE))
  const output = await open(join(folder, 'out'), 'w+')
  const strange = { bytes: 0 }
  const server = createServer((socket) => answer(socket, strange)).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const at = { file, output, port: (server.address() as AddressInfo).port, strange }
  const next = random(seed)
  for (let done = 0; done < rounds; done++) {
    // A worker takes as long as fifty other rounds.
    if (done % 50 === 25) await killRound(next, at)
    else await round(next, at)
  }
  const written = Buffer.alloc(SIZE)
  const { bytesRead } = await output.read(written, 0, SIZE, 0)
  if (written.subarray(0, bytesRead).some((byte) => byte !== WRITTEN_BYTE)) throw new Error('fs write: another byte')
  await Promise.all([file.close(), output.close()])
  rmSync(folder, { recursive: true })
  process.stdout.write(`${JSON.stringify(counts)}\n`, () => process.exit(0))
}

if (isMainThread) await main()
else await inWorker(workerData)
