import { Buffer, constants } from 'node:buffer'
import type { FileHandle } from 'node:fs/promises'
import { finished, type Readable } from 'node:stream'
import { types } from 'node:util'
import { type Abortable, onAbort, orAborted } from '../base/abort.ts'
import type { Address } from '../base/allocator.ts'
import { AllocatorError, invalidValue, outOfRange, wrongType } from '../base/errors.ts'
import type { BlockLeases } from '../lifetime/block-leases.ts'
import type { HeapHost } from '../lifetime/host.ts'
import type { Lease } from '../lifetime/lease.ts'
import { isFileHandle } from '../streams/write.ts'
import { Small } from '../tcmalloc/size-class.ts'
import { readingOf } from './pooled-socket.ts'
import { type ReadPool, read, untilAborted } from './read.ts'

/** Options of a collection. */
export interface CollectOptions extends Abortable {
  /**
   * How many bytes the source is expected to bring: the block has room for them from the start. It grows if more come.
   * @default the size of a Blob or a file; else that of a header `Content-Length`, which is believed up to 16 MiB
   */
  sizeHint?: number
  /**
   * The most bytes that are taken. A source that brings more is destroyed.
   * @default the length of the longest Buffer
   */
  maxBytes?: number
}

/** A stream of the web's kind, by what is used of it: the types of Node and of browsers don't agree. */
export interface WebStream {
  /** As of a `ReadableStream`. */
  getReader(): unknown
}

/** A Blob or a File, by what is used of it. */
export interface BlobSource {
  /** As of a `Blob`. */
  stream(): unknown
  /** Its length in bytes. */
  readonly size: number
}

/** A `Request` or a `Response` of `fetch`, by what is used of it. */
export interface BodySource {
  /** A web stream, or null. */
  readonly body: unknown
  /** Whether it was read already. */
  readonly bodyUsed: boolean
  /** As of a `Response`. */
  readonly headers: unknown
}

/** A source whose bytes can be collected; Node's streams are async iterables. */
export type CollectSource = AsyncIterable<Uint8Array> | FileHandle | WebStream | BlobSource | BodySource

/** The most bytes that are allocated because a header tells of them: a peer may claim anything, and send nothing. */
const MOST_BELIEVED = 16 * 2 ** 20
/** A full block is doubled up to this many bytes. A longer one gets half as much again: it often grows where it is. */
const MOST_DOUBLED = 2 ** 20
/** The share of its length that a finished block may have to spare. */
const SPARE_SHARE = 1 / 8
/** A full block isn't grown before it is known that a file has more bytes: so many of them are read elsewhere. */
const FILE_PROBE = 4096
const NO_BYTES = new Uint8Array(0)

/** The set of pools that collects. */
export interface Collector {
  readonly host: HeapHost
  /** The keeper of the result. */
  readonly leases: BlockLeases
  readonly tag: string
  /** Reads the sockets that read into a pool's buffers. */
  readonly chunks: ReadPool
}

/**
 * All bytes of a source, in a lease of one block that grows with them. After an error or an abort the block is freed, and the source
 * destroyed; a FileHandle stays open.
 */
export async function collect(
  { host, leases, tag, chunks }: Collector,
  source: CollectSource,
  { sizeHint, maxBytes = constants.MAX_LENGTH }: CollectOptions,
  signal: AbortSignal
): Promise<Lease<Buffer<ArrayBuffer>>> {
  const block = new GrowingBlock(host, maxBytes)
  try {
    if (isFileHandle(source)) {
      block.expect(sizeHint ?? (await orAborted(source.stat(), signal)).size)
      await collectFile(source, block, signal)
    } else {
      const { stream, size } = opened(source)
      block.expect(sizeHint ?? size)
      if (readingOf(stream)) await collectIterable(read(chunks, stream as Readable, { signal }), block)
      else if (isReadable(stream)) await collectReadable(stream, block, signal)
      else if (isWebStream(stream)) await collectWebStream(stream, block, signal)
      else if (isAsyncIterable(stream)) await collectIterable(untilAborted(stream, signal), block)
      else if (stream !== null) throw wrongType('source', 'a stream, a file, a Blob or an async iterable', source)
    }
    signal.throwIfAborted()
    return block.finish(leases, tag)
  } catch (error) {
    block.drop()
    throw error
  }
}

/** A block that grows with what is added. */
class GrowingBlock {
  length = 0
  private readonly host: HeapHost
  private readonly maxBytes: number
  private address: Address = 0
  /** All of the block. */
  private bytes: Uint8Array = NO_BYTES
  /** The operation of the system that writes to it. */
  private operation: Promise<unknown> | undefined

  constructor(host: HeapHost, maxBytes: number) {
    this.host = host
    this.maxBytes = maxBytes
  }

  /** Makes room for so many bytes, if there is memory. */
  expect(size: number): void {
    if (size > 0) this.tryReserve(Math.min(size, this.maxBytes))
  }

  /** @throws TypeError; AllocatorError `ERR_POOL_SOURCE_TOO_LARGE`, `ERR_HEAP_OUT_OF_MEMORY`, `ERR_HEAP_CLOSED` */
  add(chunk: unknown): void {
    if (!types.isUint8Array(chunk)) throw wrongType('a chunk of the source', 'a Uint8Array', chunk)
    this.host.checkOpen()
    const { length } = this
    const end = length + chunk.length
    if (end > this.maxBytes) throw this.tooLarge()
    if (end > this.bytes.length) this.grow(end)
    this.bytes.set(chunk, length)
    this.length = end
  }

  tooLarge(): AllocatorError {
    return new AllocatorError('ERR_POOL_SOURCE_TOO_LARGE', `the source brings more than ${this.maxBytes} bytes`)
  }

  /** Lets an operation of the system write to the spare bytes; undefined if there are none. It resolves to how many it wrote. */
  fill(operate: (spare: Uint8Array) => Promise<number>): Promise<number> | undefined {
    this.host.checkOpen()
    const spare = this.bytes.subarray(this.length, this.maxBytes)
    if (spare.length === 0) return undefined
    const end = this.host.operations.begin()
    const operation = operate(spare).finally(() => {
      this.operation = undefined
      end()
    })
    this.operation = operation
    return operation.then((written) => {
      if (!(written >= 0 && written <= spare.length)) throw outOfRange('bytesRead', `at most ${spare.length}`, written)
      this.length += written
      return written
    })
  }

  /** Gives the block away, without much to spare. */
  finish(leases: BlockLeases, tag: string): Lease<Buffer<ArrayBuffer>> {
    const { length, bytes } = this
    if (this.address === 0) return leases.lease(0, { tag })
    this.host.checkOpen()
    if (bytes.length - length > length * SPARE_SHARE) this.shorten()
    const { address } = this
    this.address = 0
    return leases.leaseBlock(address, length, tag)
  }

  /** Frees the block, once no operation writes to it. */
  drop(): void {
    const free = () => {
      const { address } = this
      this.address = 0
      if (address !== 0 && this.host.isOpen) this.host.heap.free(address)
    }
    if (this.operation === undefined) free()
    else this.operation.then(free, free)
  }

  /** Leaves little to spare, unless there is no memory for a shorter block. */
  private shorten(): void {
    const { length, address } = this
    // A short block is kept by `realloc` if the rest is less than half.
    if (this.bytes.length > Small.MostBytes) this.tryReserve(length)
    else {
      this.address = 0
      if (this.tryReserve(length)) {
        this.host.bytes.copy(this.address, address, length)
        this.host.heap.free(address)
      } else this.address = address
    }
  }

  private grow(least: number): void {
    const { length } = this.bytes
    const wanted = length > MOST_DOUBLED ? Math.ceil(length * 1.5) : 2 * length
    if (wanted <= least || !this.tryReserve(Math.min(wanted, this.maxBytes))) this.reserve(least)
  }

  /** The same; false if there is no memory for it. */
  private tryReserve(size: number): boolean {
    try {
      this.reserve(size)
      return true
    } catch (error) {
      if ((error as AllocatorError).code !== 'ERR_HEAP_OUT_OF_MEMORY') throw error
      return false
    }
  }

  /** Makes the block so long, or a little longer. */
  private reserve(size: number): void {
    const { heap, memory } = this.host
    this.address = this.address === 0 ? heap.malloc(size) : heap.realloc(this.address, size)
    const room = Math.min(heap.usableSize(this.address), constants.MAX_LENGTH)
    const { buffer, byteOffset } = memory.at(this.address, room)
    this.bytes = new Uint8Array(buffer, byteOffset, room)
  }
}

/** The stream of a source, null if it has none, and how many bytes it is believed to bring: 0 if it doesn't tell. */
function opened(source: unknown): { stream: unknown; size: number } {
  const told = Math.min(declaredLength((source as Partial<Response> | null)?.headers), MOST_BELIEVED)
  // Node's streams first: a body of undici's `request` is one, and makes a web stream of itself if its `body` is looked at.
  if (isReadable(source)) return { stream: source, size: told }
  const { stream, size, body, bodyUsed } = (source ?? {}) as Partial<Blob & Response>
  if (typeof bodyUsed !== 'boolean') {
    const isBlob = typeof stream === 'function' && typeof size === 'number'
    return isBlob ? { stream: (source as Blob).stream(), size } : { stream: source ?? undefined, size: told }
  }
  if (bodyUsed) throw readAlready()
  return { stream: body ?? null, size: told }
}

/** The length that the headers of a message tell, as Node keeps them or as `fetch` does; 0 if they don't. */
function declaredLength(headers: unknown): number {
  if (typeof headers !== 'object' || headers === null) return 0
  const { get } = headers as Partial<Headers>
  const told =
    typeof get === 'function'
      ? (headers as Headers).get('content-length')
      : (headers as Record<string, unknown>)['content-length']
  const length = Number(told)
  return Number.isSafeInteger(length) && length > 0 ? length : 0
}

function readAlready(): TypeError {
  return invalidValue('the source was read already')
}

/** Reads a file from its position, into the block itself. */
async function collectFile(file: FileHandle, block: GrowingBlock, signal: AbortSignal): Promise<void> {
  const read = async (into: Uint8Array) => (await file.read(into, 0, into.length, null)).bytesRead
  let probe: Buffer | undefined
  for (;;) {
    const filling = block.fill(read)
    if (filling !== undefined) {
      if ((await orAborted(filling, signal)) === 0) return
      continue
    }
    probe ??= Buffer.allocUnsafe(FILE_PROBE)
    const bytesRead = await orAborted(read(probe), signal)
    if (bytesRead === 0) return
    block.add(probe.subarray(0, bytesRead))
  }
}

/** By the event `data`: an iterator would make a promise for each chunk. */
function collectReadable(source: Readable, block: GrowingBlock, signal: AbortSignal): Promise<void> {
  if (source.readableEnded) throw readAlready()
  return new Promise((resolve, reject) => {
    const leave = () => {
      source.off('data', add)
      forgetAbort()
    }
    const fail = (error: unknown) => {
      leave()
      // The listeners of `finished` stay: without one, the stream's error would end the process.
      source.destroy(types.isNativeError(error) ? error : undefined)
      reject(error)
    }
    const add = (chunk: unknown) => {
      try {
        block.add(chunk)
      } catch (error) {
        fail(error)
      }
    }
    const forgetAbort = onAbort(signal, () => fail(signal.reason))
    const forgetStream = finished(source, { writable: false }, (error) => {
      leave()
      if (error) {
        reject(error)
        return
      }
      forgetStream()
      resolve()
    })
    source.on('data', add)
    source.resume()
  })
}

async function collectWebStream(source: ReadableStream, block: GrowingBlock, signal: AbortSignal): Promise<void> {
  const reader = source.getReader()
  try {
    for (;;) {
      const { done, value } = await orAborted(reader.read(), signal)
      if (done) return
      block.add(value)
    }
  } catch (error) {
    reader.cancel(error).catch(() => {})
    throw error
  } finally {
    reader.releaseLock()
  }
}

/** A loop that is left ends the source. */
async function collectIterable(source: AsyncIterable<unknown>, block: GrowingBlock): Promise<void> {
  for await (const chunk of source) block.add(chunk)
}

/** A stream of Node's, or one made like these. */
function isReadable(source: unknown): source is Readable {
  const { on, pipe, _readableState: state } = (source ?? {}) as Partial<Readable & { _readableState: unknown }>
  return typeof on === 'function' && typeof pipe === 'function' && typeof state === 'object'
}

function isWebStream(source: unknown): source is ReadableStream {
  return typeof (source as Partial<ReadableStream> | undefined)?.getReader === 'function'
}

function isAsyncIterable(source: unknown): source is AsyncIterable<unknown> {
  return typeof (source as Partial<AsyncIterable<unknown>> | undefined)?.[Symbol.asyncIterator] === 'function'
}
