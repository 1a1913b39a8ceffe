import { packageIsThere } from '../framework/packages.ts'
import { median } from '../framework/statistics.ts'
import type { MeasuredRow, Scale, Suite } from '../framework/suite.ts'
import { type Codec, type Message, openSide, type Side } from './message-sides.ts'

const SIDES = {
  'BufferWriter, one for all': 'kept',
  'BufferWriter, one for each': 'new',
  'protobufjs, its Writer': 'protobufjs',
  '@msgpack/msgpack, its Encoder': 'msgpack',
  'Buffer.concat of pieces': 'concat',
} as const satisfies Record<string, Side>
type Contender = keyof typeof SIDES
const [OURS, , THEIRS] = Object.keys(SIDES) as [Contender, Contender, Contender]
const PACKAGES: Partial<Record<Side, string>> = { protobufjs: 'protobufjs', msgpack: '@msgpack/msgpack' }

const TEXT = 'the quick brown fox jumps over the lazy dog; '

/** A row's messages: different ones, so that nothing is learnt by heart. */
const ROWS = {
  'an order: 2 integers, 2 doubles, 2 short texts, 16 bytes': (i: number): Message => ({
    integers: [i * 7919, i],
    doubles: [i * 1.25, 1.7e12 + i],
    texts: [`item number ${i}`, `SKU-${(i * 104_729).toString(36)}`],
    bytes: [new Uint8Array(16).fill(i)],
  }),
  'numbers: 64 integers, 32 doubles': (i: number): Message => ({
    integers: Array.from({ length: 64 }, (_, k) => i * k * 31),
    doubles: Array.from({ length: 32 }, (_, k) => i / (k + 1)),
    texts: [],
    bytes: [],
  }),
  'texts: 16 of 10 to 340 characters': (i: number): Message => ({
    integers: [],
    doubles: [],
    texts: Array.from({ length: 16 }, (_, k) => TEXT.repeat(8).slice(i % 10, 20 + k * 20)),
    bytes: [],
  }),
  'bytes: 8 of 1 KiB': (i: number): Message => ({
    integers: [],
    doubles: [],
    texts: [],
    bytes: Array.from({ length: 8 }, (_, k) => new Uint8Array(1024).fill(i + k)),
  }),
} as const
type Row = keyof typeof ROWS
const QUICK: readonly Row[] = ['an order: 2 integers, 2 doubles, 2 short texts, 16 bytes']

const MESSAGES = 64
const MILLISECONDS: Readonly<Record<Scale, number>> = { full: 12, quick: 8 }
const WARM_UP_MS = 60
/** The collector comes in most of them. */
const ROUNDS = 9

export interface MessagesParameters {
  readonly side: Side
  readonly rows: readonly Row[]
  readonly milliseconds: number
}

/** Plays a turn again and again; nanoseconds for each message. The pause lets go of what only a turn of the event loop lets go. */
async function timed(turn: () => void, milliseconds: number): Promise<number> {
  let turns = 0
  const start = performance.now()
  let now = start
  for (; now - start < milliseconds; now = performance.now()) {
    for (let i = 0; i < 8; i++) turn()
    turns += 8
  }
  await new Promise(setImmediate)
  return ((now - start) * 1e6) / (turns * MESSAGES)
}

async function measureRow(codec: Codec, row: Row, milliseconds: number): Promise<MeasuredRow> {
  const messages = Array.from({ length: MESSAGES }, (_, i) => ROWS[row](i))
  const { read } = codec
  const packed = messages.map((message) => codec.bytes(message))
  const ways: [string, (() => void) | undefined][] = [
    [
      'write',
      () => {
        for (let i = 0; i < messages.length; i++) codec.write(messages[i]!)
      },
    ],
    [
      'read',
      read &&
        (() => {
          for (let i = 0; i < packed.length; i++) read(packed[i]!)
        }),
    ],
  ]
  const values: Record<string, number | null> = {}
  for (const [name, turn] of ways) {
    if (turn === undefined) {
      values[name] = null
      continue
    }
    await timed(turn, WARM_UP_MS)
    const samples: number[] = []
    for (let i = 0; i < ROUNDS; i++) samples.push(await timed(turn, milliseconds))
    values[name] = median(samples)
  }
  return { row, values }
}

/** Writers beside those of others. */
export const messages: Suite<MessagesParameters> = {
  name: 'messages',
  title: 'Messages',
  question:
    'What does it take to write a message and give up its bytes, and to read it? The first three write the same bytes, tags and all, as Protocol Buffers have them. Buffers of the collector’s are garbage: their collections are part of their time.',
  metrics: [
    { name: 'write', title: 'a message written, and its bytes given up', unit: 'ns', better: 'less' },
    { name: 'read', title: 'read, bytes as views', unit: 'ns', better: 'less' },
  ],
  charts: [{ kind: 'bars', metric: 'write', title: 'Written', logarithmic: true }],
  configurations: ({ scale }) =>
    Object.entries(SIDES)
      .filter(([, side]) => PACKAGES[side] === undefined || packageIsThere(PACKAGES[side]))
      .map(([contender, side]) => {
        const rows = scale === 'full' ? (Object.keys(ROWS) as Row[]) : QUICK
        const parameters: MessagesParameters = { side, rows, milliseconds: MILLISECONDS[scale] }
        return { contender, process: { kind: 'own', parameters } }
      }),
  async measure({ side, rows, milliseconds }) {
    const codec = await openSide(side)
    const measured: MeasuredRow[] = []
    for (const row of rows) measured.push(await measureRow(codec, row, milliseconds))
    return measured
  },
  verdicts(medians) {
    return medians.rows.flatMap((row) => {
      const [ours, theirs] = [OURS, THEIRS].map((contender) => medians.of(row, contender, 'write'))
      if (ours === undefined || theirs === undefined) return []
      const claim = `so many times as fast as protobufjs’ Writer a message is written, finished and given up (${row})`
      return [{ claim, value: theirs / ours, bar: { least: 1 } }]
    })
  },
}
