import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { Server as HttpServer } from 'node:http'
import type { AddressInfo, Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Heap } from '../../lib/heap.ts'
import type { MemoryKind } from '../../lib/os/mapper.ts'

/** The versions of Node that the table shows. */
export const VERSIONS = [20, 22, 24, 26] as const
export const KINDS = ['shared', 'private'] as const satisfies readonly MemoryKind[]

const LIMIT_BYTES = 2 ** 24
const PATIENCE_MS = 20_000
const UNTOUCHED = 0xee

/**
 * What came of handing a buffer to an API: the right bytes; an error, with its code or else its name; no error but other
 * bytes; the heap's buffer detached, and all of its blocks with it; no end; or this Node doesn't have the API.
 */
export type Outcome = 'works' | `refused: ${string}` | 'wrong' | 'detached' | 'hangs' | 'absent'

/** What happens in the versions of Node from `from` to `to`, both included; without `to` in all later ones. */
export interface Exception {
  readonly from: number
  readonly to?: number
  readonly outcome: Outcome
}

/** One API of Node that takes buffers. */
export interface NodeApi {
  readonly name: string
  /** The first major version of Node that has it, where that isn't the oldest one that is supported. */
  readonly since?: number
  /** Where it doesn't work with shared memory. */
  readonly shared?: readonly Exception[]
  /** Where it doesn't work with private memory. */
  readonly private?: readonly Exception[]
  /** Whether this Node has it. */
  readonly exists?: () => boolean
  /** Uses it with buffers from `memory`. @throws WrongBytes where other bytes came out than went in */
  readonly use: (memory: Memory) => void | Promise<void>
}

/** The APIs of one family. */
export interface ApiGroup {
  readonly title: string
  readonly apis: readonly NodeApi[]
}

/** No error, but other bytes than there should be. */
export class WrongBytes extends Error {}

/** Bytes of all values, no text in any encoding: what turns them into a string and back is noticed. */
export const SAMPLE = Buffer.from(Array.from({ length: 1024 }, (_, i) => (i * 167 + 0x80) & 0xff))

/** Text beyond ASCII and beyond 16 bits. */
export const TEXT = 'Größe – 大きさ – 😀'

/**
 * A heap, and buffers of it. They are typed as if over an ArrayBuffer, which with shared memory they are not: what Node says
 * to that, and not what the compiler says, is the question here.
 */
export class Memory {
  readonly heap: Heap<MemoryKind>

  constructor(readonly kind: MemoryKind) {
    this.heap = new Heap<MemoryKind>({ memory: kind, limitBytes: LIMIT_BYTES, leaks: 'off' })
  }

  /** A buffer that holds these bytes. */
  holding(bytes: Uint8Array | string = SAMPLE): Buffer<ArrayBuffer> {
    const source = typeof bytes === 'string' ? Buffer.from(bytes) : bytes
    const buffer = this.heap.allocBuffer(source.length) as Buffer<ArrayBuffer>
    buffer.set(source)
    return buffer
  }

  /** A buffer to be written to. */
  room(size = SAMPLE.length): Buffer<ArrayBuffer> {
    return (this.heap.allocBuffer(size) as Buffer<ArrayBuffer>).fill(UNTOUCHED)
  }
}

/** @throws WrongBytes where they differ */
export function expectBytes(actual: Uint8Array | ArrayBuffer | string, expected: Uint8Array | string = SAMPLE): void {
  // Copies, by nothing but a loop over indices: what is tested doesn't test itself.
  const found = ordinary(actual)
  const wanted = ordinary(expected)
  let at = 0
  while (at < wanted.length && found[at] === wanted[at]) at++
  if (at < wanted.length || found.length !== wanted.length) {
    throw new WrongBytes(`${found.length} bytes for ${wanted.length}, and byte ${at} is ${found[at]} for ${wanted[at]}`)
  }
}

/** @throws WrongBytes */
export function expect(condition: boolean, what: string): void {
  if (!condition) throw new WrongBytes(what)
}

function ordinary(value: Uint8Array | ArrayBuffer | string): ArrayLike<number> {
  if (typeof value === 'string') return Buffer.from(value)
  return Array.from(value instanceof ArrayBuffer ? new Uint8Array(value) : value)
}

/** Hands buffers of a kind of memory to an API, and says what came of it. */
export async function outcomeOf(api: NodeApi, kind: MemoryKind): Promise<{ outcome: Outcome; error?: Error }> {
  if (api.exists?.() === false) return { outcome: 'absent' }
  const memory = new Memory(kind)
  const length = memory.heap.buffer.byteLength
  let timer: NodeJS.Timeout | undefined
  try {
    const patience = new Promise<true>((resolve) => {
      timer = setTimeout(resolve, PATIENCE_MS, true)
    })
    // Where it doesn't work, the heap stays open: something in Node may still hold its bytes.
    if ((await Promise.race([use(api, memory), patience])) === true) return { outcome: 'hangs' }
    if (memory.heap.buffer.byteLength !== length) return { outcome: 'detached' }
    memory.heap.close()
    return { outcome: 'works' }
  } catch (thrown) {
    const error = thrown instanceof Error ? thrown : new Error(String(thrown))
    if (memory.heap.buffer.byteLength !== length) return { outcome: 'detached', error }
    if (error instanceof WrongBytes) return { outcome: 'wrong', error }
    const { code } = error as NodeJS.ErrnoException
    return { outcome: `refused: ${typeof code === 'string' ? code : error.name}`, error }
  } finally {
    clearTimeout(timer)
  }
}

async function use(api: NodeApi, memory: Memory): Promise<void> {
  await api.use(memory)
}

/** What the list says should come of it. */
export function expectedOutcome(api: NodeApi, kind: MemoryKind, major: number): Outcome {
  if (major < (api.since ?? 0)) return 'absent'
  const exception = api[kind]?.find(({ from, to = Infinity }) => major >= from && major <= to)
  return exception?.outcome ?? 'works'
}

/** Starts a server on a free port of this machine, and closes it after `talk`, however that ends. */
export async function withServer<T>(server: Server, talk: (port: number) => Promise<T>): Promise<T> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  try {
    return await talk((server.address() as AddressInfo).port)
  } finally {
    server.close()
    if (server instanceof HttpServer) server.closeAllConnections()
  }
}

/** A folder for the time that `work` takes. */
export async function withFolder(work: (file: string) => void | Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'spanheap-'))
  try {
    await work(join(folder, 'file'))
  } finally {
    await rm(folder, { recursive: true })
  }
}
