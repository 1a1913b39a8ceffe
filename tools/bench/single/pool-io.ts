/**
 * Copying a file, and a TCP server that sends back what it is sent, through a pool, over the same with fresh Buffers. Each
 * in a process of its own, in turn, medians of several rounds: MiB per second, processor time, collections, resident memory at the
 * peak. The files stay in the page cache; the client of the server is one more process, which makes no buffers.
 *
 *     node dist/tools/bench/single/pool-io.js [--only copy,echo] [--rounds N] [--copies N] [--echo MIB]
 *
 * NODE_ENV is taken away first: leaks are watched for as they are by default.
 */
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { createReadStream, createWriteStream, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { type AddressInfo, connect, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs, promisify } from 'node:util'
import Table from 'cli-table3'
import { BufferPool } from 'spanheap'
import { CollectionCounter, type Collections, totalMs } from '../framework/collections.ts'
import { runOurs } from '../framework/peers.ts'
import { median } from '../framework/statistics.ts'

const MIB = 2 ** 20
const CHUNK = 65536
/** A file that is copied again and again, so that the page cache doesn't write back all the time. */
const FILE_BYTES = 64 * MIB
const WARM_UP_COPIES = 2
const CONNECTIONS = 8
/** Messages of a connection on their way. */
const WINDOW = 4
/** Major collections of the pool over those with fresh buffers. */
const MAJOR_BAR = 0.2

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: 'copy,echo' },
    rounds: { type: 'string', default: '5' },
    copies: { type: 'string', default: '16' },
    echo: { type: 'string', default: '2048' },
    child: { type: 'string' },
    client: { type: 'string' },
  },
})

/** What one process measured. */
interface Measured {
  mibPerSecond: number
  processorMs: number
  collections: Collections
  peak: number
}

function newPool(): BufferPool {
  return new BufferPool({ size: CHUNK })
}

/** The ways to copy one file to another. All read one piece while the one before is written. */
const copies: Record<string, () => (from: string, to: string) => Promise<void>> = {
  'streams, 64 KiB': () => (from, to) =>
    pipeline(createReadStream(from, { highWaterMark: CHUNK }), createWriteStream(to, { highWaterMark: CHUNK })),
  'loop, allocUnsafe': () => (from, to) =>
    withFiles(from, to, async (source, target) => {
      let written: Promise<unknown> | undefined
      for (;;) {
        const buffer = Buffer.allocUnsafe(CHUNK)
        const { bytesRead } = await source.read(buffer, 0, CHUNK, null)
        await written
        if (bytesRead === 0) return
        written = target.write(buffer, 0, bytesRead)
      }
    }),
  pool: () => {
    const pool = newPool()
    return (from, to) =>
      withFiles(from, to, async (source, target) => {
        let written: Promise<void> | undefined
        for await (const chunk of pool.read(source, { start: 0 })) {
          await written
          written = pool.write(target, chunk)
        }
        await written
      })
  },
}

async function withFiles(
  from: string,
  to: string,
  work: (source: FileHandle, target: FileHandle) => Promise<void>
): Promise<void> {
  const source = await open(from, 'r')
  const target = await open(to, 'w')
  try {
    await work(source, target)
  } finally {
    await source.close()
    await target.close()
  }
}

/** Servers that send back what a connection brings. */
const echoes: Record<string, () => Server> = {
  'data, write': () =>
    createServer({ allowHalfOpen: true }, (socket) => {
      socket.on('data', (data) => socket.write(data))
      socket.on('end', () => socket.end())
    }),
  pool: () => {
    const pool = newPool()
    return pool.createServer({ allowHalfOpen: true }, async (socket) => {
      for await (const chunk of pool.read(socket)) await pool.write(socket, chunk)
      socket.end()
    })
  },
}

/** Measures some work that moves so many bytes. */
async function measured(work: () => Promise<number>, bytes: number): Promise<Measured> {
  const counter = new CollectionCounter()
  const cpu = process.cpuUsage()
  const ms = await work()
  const { user, system } = process.cpuUsage(cpu)
  return {
    mibPerSecond: bytes / MIB / (ms / 1000),
    processorMs: (user + system) / 1000,
    collections: await counter.end(),
    peak: process.resourceUsage().maxRSS * 1024,
  }
}

async function measureCopy(name: string): Promise<Measured> {
  const folder = mkdtempSync(join(tmpdir(), 'spanheap-copy-'))
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
  const [from, to] = [join(folder, 'from'), join(folder, 'to')]
  const piece = Buffer.alloc(MIB, 'spanheap ')
  for (let bytes = 0; bytes < FILE_BYTES; bytes += MIB) writeFileSync(from, piece, { flag: 'a' })
  const copy = copies[name]!()
  for (let time = 0; time < WARM_UP_COPIES; time++) await copy(from, to)
  const times = Number(values.copies)
  return measured(async () => {
    const start = performance.now()
    for (let time = 0; time < times; time++) await copy(from, to)
    return performance.now() - start
  }, times * FILE_BYTES)
}

async function measureEcho(name: string): Promise<Measured> {
  const server = echoes[name]!()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const bytes = Number(values.echo) * MIB
  const client = async (amount: number) => {
    const file = fileURLToPath(import.meta.url)
    const run = promisify(execFile)(process.execPath, [file, '--client', `${port},${amount}`])
    return Number((await run).stdout)
  }
  await client(bytes / 8)
  const found = await measured(() => client(bytes), bytes)
  server.close()
  return found
}

/** Sends so many bytes over several connections, and reads them back; milliseconds. */
async function client(port: number, bytes: number): Promise<number> {
  const message = Buffer.alloc(CHUNK, 'spanheap ')
  const each = Math.floor(bytes / CONNECTIONS / CHUNK)
  const start = performance.now()
  const connections = Array.from({ length: CONNECTIONS }, async () => {
    let sent = 0
    let received = 0
    const send = () => {
      if (sent++ < each) socket.write(message)
    }
    const callback = (length: number) => {
      const before = Math.floor(received / CHUNK)
      received += length
      for (let more = Math.floor(received / CHUNK) - before; more > 0; more--) send()
      if (received === each * CHUNK) socket.end()
      return true
    }
    const socket = connect({ port, host: '127.0.0.1', onread: { buffer: Buffer.alloc(CHUNK), callback } })
    await once(socket, 'connect')
    for (let i = 0; i < WINDOW; i++) send()
    await once(socket, 'close')
    if (received !== each * CHUNK) throw new Error(`${received} of ${each * CHUNK} bytes came back`)
  })
  await Promise.all(connections)
  return performance.now() - start
}

/** The ways of one kind beside each other; the last is the pool's. */
function compare(kind: string, names: string[]): void {
  const found = new Map<string, Measured[]>(names.map((name) => [name, []]))
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const [name, rounds] of found) {
      const options = ['--copies', values.copies, '--echo', values.echo]
      rounds.push(runOurs<Measured>(import.meta.url, '--child', `${kind},${name}`, ...options))
    }
  }
  const table = new Table({
    head: [
      kind,
      'MiB/s',
      'processor, ms',
      'major',
      'minor',
      'collections, ms',
      'peak, MiB',
      'pool: speed',
      'pool: major',
    ],
    style: { head: [], border: [], compact: true },
  })
  const all = names.map((name) => {
    const of = (figure: (round: Measured) => number) => median(found.get(name)!.map(figure))
    return {
      name,
      speed: of((round) => round.mibPerSecond),
      processorMs: of((round) => round.processorMs),
      major: of((round) => round.collections.major.count),
      minor: of((round) => round.collections.minor.count),
      ms: of((round) => totalMs(round.collections)),
      peak: of((round) => round.peak),
    }
  })
  const pool = all.at(-1)!
  for (const way of all) {
    const { name, speed, processorMs, major, minor, ms, peak } = way
    const ratio = pool.speed / speed
    const verdicts = [
      `${ratio.toFixed(2)}, >= 1: ${ratio >= 1 ? 'yes' : 'NO'}`,
      `${major === 0 ? pool.major : (pool.major / major).toFixed(2)}, <= ${MAJOR_BAR}: ${pool.major <= MAJOR_BAR * major ? 'yes' : 'NO'}`,
    ]
    const figures = [speed.toFixed(0), processorMs.toFixed(0), major, minor, ms.toFixed(1), (peak / MIB).toFixed(0)]
    table.push([name, ...figures, ...(way === pool ? ['', ''] : verdicts)])
  }
  console.log(`${table}`)
}

if (values.client !== undefined) {
  const [port, bytes] = values.client.split(',').map(Number) as [number, number]
  console.log(await client(port, bytes))
} else if (values.child !== undefined) {
  const comma = values.child.indexOf(',')
  const name = values.child.slice(comma + 1)
  const figures = await (values.child.startsWith('copy') ? measureCopy(name) : measureEcho(name))
  console.log(JSON.stringify(figures))
  process.exit()
} else {
  delete process.env.NODE_ENV
  if (values.only.includes('copy')) compare('copy', Object.keys(copies))
  if (values.only.includes('echo')) compare('echo', Object.keys(echoes))
}
