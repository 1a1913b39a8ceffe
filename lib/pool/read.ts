import type { FileHandle } from 'node:fs/promises'
import type { Readable } from 'node:stream'
import { types } from 'node:util'
import { type Abortable, checkSignal, orAborted } from '../base/abort.ts'
import { checkCount } from '../base/arguments.ts'
import { wrongType } from '../base/errors.ts'
import type { Lease } from '../lifetime/lease.ts'
import { isFileHandle } from '../streams/write.ts'
import { type ReadMemory, readingOf } from './pooled-socket.ts'

/** Options of a read. */
export interface ReadOptions extends Abortable {
  /**
   * For a file: where to begin. With it, the next chunk is read ahead while the program has one, and the file's own position doesn't
   * change. Without it, reading starts at the file's position, which advances by exactly the chunks that the program got: a loop that was
   * left can be continued.
   * @default the file's current position
   */
  start?: number
  /**
   * For a file: the last byte that is read, as in `fs.createReadStream`.
   * @default Infinity
   */
  end?: number
}

/** A source that can be read from. */
export type ReadSource = FileHandle | AsyncIterable<Uint8Array>

/** The pool, as a reader needs it. */
export interface ReadPool extends ReadMemory {
  leaseAsync(options: Abortable): Promise<Lease>
}

/**
 * Chunks of a file, a socket or another stream, each in a buffer of the pool. The buffer goes back when the next chunk is asked for, or
 * when the loop is left; but only after the operations that hold it.
 */
export async function* read(
  pool: ReadPool,
  source: ReadSource,
  options: ReadOptions
): AsyncGenerator<Buffer, void, void> {
  checkSignal(options.signal)
  const reading = readingOf(source)
  if (isFileHandle(source)) yield* readFile(pool, source, options)
  else if (reading !== undefined) {
    reading.begin()
    try {
      for (;;) {
        // Checked before a chunk is taken, since an aborted loop couldn't give the chunk back; the next reader gets it.
        options.signal?.throwIfAborted()
        const chunk = reading.take()
        if (chunk === undefined) {
          const more = reading.more()
          if (more === undefined) return
          await orAborted(more, options.signal)
          continue
        }
        try {
          yield chunk.bytes
        } finally {
          chunk.lent?.giveBack()
        }
      }
    } finally {
      reading.drop()
    }
  } else if (typeof source?.[Symbol.asyncIterator] === 'function') yield* copyStream(pool, source, options)
  else throw wrongType('source', 'a FileHandle, a socket or a Readable', source)
}

/**
 * With a start of its own, a file is read one chunk ahead: while the program has one, the system fetches the next, if there is a buffer for
 * it. From the file's position, nothing is read before it is asked for. Otherwise a program that leaves the loop would miss a chunk, and it
 * couldn't close a FIFO that has no writer.
 */
async function* readFile(pool: ReadPool, file: FileHandle, options: ReadOptions): AsyncGenerator<Buffer, void, void> {
  const { start, end, signal } = options
  if (start !== undefined) checkCount('start', start)
  const isAll = end === undefined || end === Number.POSITIVE_INFINITY
  let left = isAll ? Number.POSITIVE_INFINITY : checkCount('end', end) - (start ?? 0) + 1
  let position = start
  const waiting = abortable(signal)
  const begin = (lease: Lease): FileRead => {
    const letGo = lease.hold()
    const length = Math.min(lease.buffer.length, left)
    const operation = file.read(lease.buffer, 0, length, position ?? null)
    const done = operation.then(({ bytesRead }) => bytesRead).finally(letGo)
    // A loop that is left doesn't wait for it.
    done.catch(() => {})
    return { lease, done }
  }
  let next: FileRead | undefined
  try {
    while (left > 0) {
      const { lease, done } = next ?? begin(pool.tryLease() ?? (await pool.leaseAsync(waiting)))
      next = undefined
      try {
        const bytesRead = await orAborted(done, signal)
        if (bytesRead === 0) return
        left -= bytesRead
        if (position !== undefined) position += bytesRead
        const ahead = left > 0 && position !== undefined ? pool.tryLease() : undefined
        if (ahead !== undefined) next = begin(ahead)
        yield pool.first(lease, bytesRead)
      } finally {
        lease.release()
      }
    }
  } finally {
    next?.lease.release()
  }
}

function abortable(signal: AbortSignal | undefined): Abortable {
  return signal === undefined ? {} : { signal }
}

/** A read in progress in the system. */
interface FileRead {
  lease: Lease
  /** How many bytes it read. */
  done: Promise<number>
}

/** Copies a stream's chunks, into as many buffers as it takes. */
async function* copyStream(
  pool: ReadPool,
  source: AsyncIterable<Uint8Array>,
  { signal }: ReadOptions
): AsyncGenerator<Buffer, void, void> {
  for await (const chunk of untilAborted(source, signal)) {
    if (!types.isUint8Array(chunk)) throw wrongType('a chunk of the source', 'a Uint8Array', chunk)
    for (let from = 0; from < chunk.length; from += pool.size) {
      const lease = await pool.leaseAsync(abortable(signal))
      try {
        const part = chunk.subarray(from, from + pool.size)
        lease.buffer.set(part)
        yield pool.first(lease, part.length)
      } finally {
        lease.release()
      }
    }
  }
}

/** The chunks of a source. An abort ends the wait for the next one: a stream is destroyed, as by a loop that is left. */
export async function* untilAborted<T>(source: AsyncIterable<T>, signal: AbortSignal | undefined): AsyncGenerator<T> {
  const chunks = source[Symbol.asyncIterator]()
  let isOver = false
  try {
    for (;;) {
      const next = await orAborted(chunks.next(), signal)
      signal?.throwIfAborted()
      isOver = next.done === true
      if (isOver) return
      yield next.value
    }
  } finally {
    if (signal?.aborted && isDestroyable(source)) source.destroy()
    // A chunk that is being waited for may never come.
    const left = isOver ? undefined : chunks.return?.()
    if (signal?.aborted) left?.catch(() => {})
    else await left
  }
}

/** A stream of Node's, or one made like these. */
function isDestroyable(source: object): source is Readable {
  return typeof (source as Partial<Readable>).destroy === 'function'
}
