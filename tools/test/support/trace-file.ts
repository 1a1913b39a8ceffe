import { writeFileSync } from 'node:fs'
import { gzipSync } from 'node:zlib'

/** An event of a trace: what was asked for, the slot, and the size. */
export type TraceEvent = [operation: 'malloc' | 'free' | 'realloc' | 'calloc', slot: number, size?: number]

const OPERATIONS = ['malloc', 'free', 'realloc', 'calloc'] as const
const MAGIC = 0x4352544d

/** Writes a trace (docs/traces.md) of one thread to a file. */
export function writeTrace(path: string, slots: number, events: readonly TraceEvent[]): string {
  const records = events.flatMap(([operation, slot, size = 0]) => [OPERATIONS.indexOf(operation), slot, size])
  const words = Uint32Array.from([MAGIC, 1, 1, slots, events.length, 0, 0, 0, ...records])
  const bytes = Buffer.from(words.buffer)
  writeFileSync(path, path.endsWith('.gz') ? gzipSync(bytes) : bytes)
  return path
}
