import { createWriteStream } from 'node:fs'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGzip } from 'node:zlib'
import { MOST_RECORDED_BYTES, Mtrc } from './format.ts'
import { Operation } from './trace.ts'

/** Records in a chunk: 768 KiB. */
const CHUNK_RECORDS = 65_536
const RECORD_BYTES = Mtrc.RecordWords * 4

/** Writes a trace, event by event, so that `readTrace` reads the same. */
export class TraceWriter {
  private readonly chunks: DataView<ArrayBuffer>[] = []
  private count = 0
  private threadCount = 0
  private slotCount = 0

  /** Events so far. */
  get events(): number {
    return this.count
  }

  /** Threads so far: one more than the highest number. */
  get threads(): number {
    return this.threadCount
  }

  /**
   * Adds an event. What a record can't hold becomes the most that it can: a thread above 255, an alignment above 64 MiB, a
   * size from 4 GiB on. REQUIRES: the slot is empty for what allocates, and full for a free and a realloc.
   */
  append(operation: Operation, thread: number, slot: number, size: number, alignmentLog2 = 0): void {
    const kind = operation === Operation.AlignedMalloc ? Operation.Malloc : operation
    const number = Math.min(thread, Mtrc.MostThreads - 1)
    const alignment = Math.min(alignmentLog2, Mtrc.MostAlignmentLog2)
    const at = (this.count % CHUNK_RECORDS) * RECORD_BYTES
    if (at === 0) this.chunks.push(new DataView(new ArrayBuffer(CHUNK_RECORDS * RECORD_BYTES)))
    const chunk = this.chunks.at(-1)!
    chunk.setUint32(at, kind | (number << 8) | (alignment << 16), true)
    chunk.setUint32(at + 4, slot, true)
    chunk.setUint32(at + 8, Math.min(size, MOST_RECORDED_BYTES), true)
    this.count++
    this.threadCount = Math.max(this.threadCount, number + 1)
    this.slotCount = Math.max(this.slotCount, slot + 1)
  }

  /** Writes the file, packed with gzip unless its name ends in `.mtrc`. @throws Error of the system's */
  async write(path: string): Promise<void> {
    const source = Readable.from(this.pieces())
    const target = createWriteStream(path)
    await (path.endsWith('.mtrc') ? pipeline(source, target) : pipeline(source, createGzip(), target))
  }

  private *pieces(): Generator<Uint8Array> {
    const header = new DataView(new ArrayBuffer(Mtrc.HeaderWords * 4))
    const words = [Mtrc.Magic, Mtrc.Version, Math.max(1, this.threadCount), this.slotCount, this.count]
    words.forEach((word, index) => {
      header.setUint32(index * 4, word, true)
    })
    yield new Uint8Array(header.buffer)
    for (const [index, { buffer }] of this.chunks.entries()) {
      const records = Math.min(CHUNK_RECORDS, this.count - index * CHUNK_RECORDS)
      yield new Uint8Array(buffer, 0, records * RECORD_BYTES)
    }
  }
}
