import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { Server as HttpServer } from 'node:http'
import type { AddressInfo, Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { ArrayOf, TypedArrayConstructor } from '../../lib/buffers/heap-buffers.ts'
import { Heap } from '../../lib/heap/heap.ts'

/** The versions of Node that the table shows. */
export const VERSIONS = [20, 22, 24, 26] as const
/** Where in a heap the buffers lie. An API that keeps an offset in 31 or 32 bits takes other bytes from the second or third on. */
export const PLACES = ['low', 'above 2 GiB', 'above 4 GiB'] as const
export type Place = (typeof PLACES)[number]

const LIMIT_BYTES = 6 * 2 ** 30
/** Blocks of this size are below the buffers, as many as the place's index says. Nothing is written to them, so they cost addresses alone. */
const BALLAST_BYTES = 2 ** 31
const PATIENCE_MS = 20_000
const UNTOUCHED = 0xee

/**
 * What came of handing a buffer to an API: the right bytes; the right bytes, but the ArrayBuffer is taken away from under all buffers that
 * there were; the same and an error; only an error, with its code or else its name; no error but other bytes; a heap that doesn't go on; no
 * end; or this Node doesn't have the API.
 */
export type Outcome =
  | 'works'
  | 'taken'
  | `taken: ${string}`
  | `refused: ${string}`
  | 'wrong'
  | 'broken'
  | 'hangs'
  | 'absent'

/** What happens in the versions of Node from `from` to `to`, both included; without `to` in all later ones. */
export interface Exception {
  readonly from: number
  readonly to?: number
  /** Where it happens, if not everywhere. */
  readonly places?: readonly Place[]
  readonly outcome: Outcome
}

/** What buffers of a heap aren't for. The document's table of exceptions has a row for each. */
export const REASONS = {
  clone: 'a structured clone of a buffer, or a message with one',
  list: '`buffer.buffer` in a transfer list',
  transfer: '`buffer.buffer.transfer()`, `transferToFixedLength()`',
  enqueue: "a buffer as a chunk for a stream of type `'bytes'`",
  byob: "a buffer to be read into from a stream of type `'bytes'`",
} as const
export type Reason = keyof typeof REASONS

/** One API of Node that takes buffers. */
export interface NodeApi {
  readonly name: string
  /** The first major version of Node that has it, if that isn't the oldest one that is supported. */
  readonly since?: number
  /** Where it doesn't work. The first one that fits counts. */
  readonly exceptions?: readonly Exception[]
  /** Why it doesn't: for the heap's sake, or since it throws for every Buffer, Node's own too. */
  readonly reason?: Reason | 'every buffer'
  /** Whether this Node has it. */
  readonly exists?: () => boolean
  /** Uses it with buffers from `memory`. @throws WrongBytes if other bytes came out than went in */
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

interface HandedOut {
  readonly view: ArrayBufferView
  readonly address: number
  readonly size: number
  /** What was in it, if that is known. */
  readonly source: Uint8Array | undefined
  /** It was to be written to, with the sample unless the API threw. */
  readonly isRoom: boolean
}

/** A heap with free memory at one place only. APIs are tried one after another with the same heap: so it must go on after each. */
export class Memory {
  // In debug mode each buffer has an ArrayBuffer of its own: another question.
  readonly heap = new Heap({ limitBytes: LIMIT_BYTES, leaks: 'off', debug: false })
  private readonly lowest: number
  private readonly ballast: number
  private readonly handedOut: HandedOut[] = []

  constructor(place: Place) {
    const blocks = PLACES.indexOf(place)
    for (let i = 0; i < blocks; i++) this.heap.malloc(BALLAST_BYTES)
    this.lowest = blocks * BALLAST_BYTES
    this.ballast = this.heap.stats().liveBytes
  }

  /** A buffer that holds these bytes. */
  holding(bytes: Uint8Array | string = SAMPLE): Buffer<ArrayBuffer> {
    const source = typeof bytes === 'string' ? Buffer.from(bytes) : bytes
    const buffer = this.handOut(this.heap.allocBuffer(source.length), source)
    buffer.set(source)
    return buffer
  }

  /** A buffer to be written to. */
  room(size = SAMPLE.length): Buffer<ArrayBuffer> {
    return this.handOut(this.heap.allocBuffer(size), Buffer.alloc(size, UNTOUCHED), true).fill(UNTOUCHED)
  }

  array<Class extends TypedArrayConstructor>(type: Class, length: number): ArrayOf<Class> {
    return this.handOut(this.heap.allocArray(type, length))
  }

  /** The block of a view that was handed out, in the heap's SharedArrayBuffer: there it can't be taken away. */
  addressOf(view: ArrayBufferView): number {
    return this.handedOut.find((block) => block.view === view)!.address
  }

  /**
   * Takes back all that was handed out, and tries whether the heap goes on. Says whether its ArrayBuffer was taken away meanwhile: then all
   * buffers have length 0, and their blocks hold what they should.
   * @param threw the API did: so blocks must hold what they held
   * @throws WrongBytes if there were changes at an offset that lost its upper bits
   * @throws Error whatever a heap says that doesn't go on
   */
  settle(threw: boolean): boolean {
    const { heap, handedOut } = this
    const taken = handedOut.some(({ view, size }) => size > 0 && view.byteLength === 0)
    const old = [...handedOut]
    const fresh = this.holding()
    for (let i = 0; i < SAMPLE.length; i++) if (fresh[i] !== SAMPLE[i]) throw new Error('a new buffer has other bytes')
    for (const { view, address, size, source, isRoom } of old) {
      if (taken && view.byteLength > 0) throw new Error(`the buffer at ${address} is still there`)
      if (taken === (view.buffer === fresh.buffer))
        throw new Error(`the buffer at ${address} is over another ArrayBuffer`)
      const wanted = isRoom && !threw ? SAMPLE : source
      if ((!taken && !threw) || wanted === undefined) continue
      expectBytes(heap.view(address, size), wanted)
      expectBytes(heap.bufferAt(address, size), wanted)
    }
    for (const { view, address, size } of handedOut) {
      if (address < this.lowest) throw new Error(`a buffer lies at ${address}`)
      const bytes = new Uint8Array(heap.buffer, address, size)
      // Nothing that an earlier API left behind can pass for what a later one should have brought.
      for (let i = 0; i < size; i++) bytes[i] = 0
      for (let low = address - BALLAST_BYTES; low > 0; low -= BALLAST_BYTES) expectNothing(heap.buffer, low, size)
      heap.freeBuffer(view)
    }
    handedOut.length = 0
    // With ballast it looks at the state of every 16 bytes of that too, which takes half a second: so there seldom, and once at the end.
    if (this.lowest === 0 || taken) heap.audit()
    const { liveBytes } = heap.stats()
    if (liveBytes !== this.ballast) throw new Error(`${liveBytes - this.ballast} bytes are live`)
    return taken
  }

  private handOut<View extends ArrayBufferView>(view: View, source?: Uint8Array, isRoom = false): View {
    this.handedOut.push({ view, address: view.byteOffset, size: view.byteLength, source, isRoom })
    return view
  }
}

/** @throws WrongBytes if something has been written where only untouched pages are */
function expectNothing(buffer: SharedArrayBuffer, offset: number, size: number): void {
  const bytes = new Uint8Array(buffer, offset, size)
  for (let i = 0; i < size; i++) expect(bytes[i] === 0, `byte ${offset + i} was written to`)
}

/** @throws WrongBytes if they differ */
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

const memories = new Map<Place, Memory>()

/** Audits the heaps that all APIs were tried with, and closes them. @throws AllocatorError `ERR_HEAP_CORRUPT` */
export function closeMemories(): void {
  for (const { heap } of memories.values()) {
    heap.audit()
    heap.close()
  }
  memories.clear()
}

/** Hands buffers at a place to an API, and says what came of it. */
export async function outcomeOf(api: NodeApi, place: Place): Promise<{ outcome: Outcome; error?: Error }> {
  if (api.exists?.() === false) return { outcome: 'absent' }
  const memory = memories.get(place) ?? new Memory(place)
  // Kept only if it comes through: whatever hangs may still use it.
  memories.delete(place)
  const result = await used(api, memory)
  if (result.outcome === 'hangs') return result
  try {
    const threw = result.outcome.startsWith('refused: ')
    const taken = memory.settle(threw)
    // Other bytes stay what they are, whatever was taken.
    if (result.outcome === 'wrong') return result
    memories.set(place, memory)
    if (!taken) return result
    return { ...result, outcome: threw ? (result.outcome.replace('refused', 'taken') as Outcome) : 'taken' }
  } catch (error) {
    return { outcome: error instanceof WrongBytes ? 'wrong' : 'broken', error: error as Error }
  }
}

async function used(api: NodeApi, memory: Memory): Promise<{ outcome: Outcome; error?: Error }> {
  let timer: NodeJS.Timeout | undefined
  const patience = new Promise<Outcome>((resolve) => {
    timer = setTimeout(resolve, PATIENCE_MS, 'hangs')
  })
  const work = async (): Promise<Outcome> => {
    await api.use(memory)
    return 'works'
  }
  try {
    return { outcome: await Promise.race([work(), patience]) }
  } catch (thrown) {
    const error = thrown instanceof Error ? thrown : new Error(String(thrown))
    if (error instanceof WrongBytes) return { outcome: 'wrong', error }
    const { code } = error as NodeJS.ErrnoException
    return { outcome: `refused: ${typeof code === 'string' ? code : error.name}`, error }
  } finally {
    clearTimeout(timer)
  }
}

/** What the list says should come of it. */
export function expectedOutcome(api: NodeApi, major: number, place: Place): Outcome {
  if (major < (api.since ?? 0)) return 'absent'
  const fits = ({ from, to = Infinity, places = PLACES }: Exception) =>
    major >= from && major <= to && places.includes(place)
  return api.exceptions?.find(fits)?.outcome ?? 'works'
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
