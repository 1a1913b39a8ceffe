import test from 'ava'
import { Heap } from '../../lib/heap/heap.ts'
import {
  closeMemories,
  expectBytes,
  expectedOutcome,
  type Memory,
  type NodeApi,
  outcomeOf,
  PLACES,
  SAMPLE,
} from './api.ts'
import { GROUPS } from './list.ts'

const major = Number.parseInt(process.versions.node, 10)

const warnings: string[] = []
process.on('warning', ({ name, message }) => {
  if (name === 'SpanheapWarning') warnings.push(message)
})

for (const { title, apis } of GROUPS) {
  for (const api of apis) {
    const wanted = PLACES.map((place) => expectedOutcome(api, major, place))
    test.serial(`${title}: ${api.name}: ${[...new Set(wanted)].join(', ')}`, async (t) => {
      for (const [i, place] of PLACES.entries()) {
        const { outcome, error } = await outcomeOf(api, place)
        t.is(outcome, wanted[i]!, `${place}: ${error?.stack}`)
      }
    })
  }
}

test.serial('the heaps that they were all tried with are whole', (t) => {
  t.notThrows(closeMemories)
})

test.serial('one warning says that ArrayBuffers were taken, if any were', (t) => {
  t.is(warnings.length, major < 24 ? 1 : 0)
  for (const warning of warnings) t.regex(warning, /has taken the ArrayBuffer of a heap/)
})

const heap = new Heap({ limitBytes: 2 ** 24, leaks: 'off' })
const allocate = (size: number) => heap.allocBuffer(size, { isolated: true })
/** Buffers that each have an ArrayBuffer of their own. */
const isolated = {
  holding: (bytes: Uint8Array | string = SAMPLE) => allocate(bytes.length).fill(bytes),
  room: (size = SAMPLE.length) => allocate(size).fill(0),
  array: (type: typeof Int32Array, length: number) => heap.allocArray(type, length, { isolated: true }),
} as unknown as Memory

for (const api of GROUPS.flatMap(({ apis }) => apis.filter(({ exceptions }) => exceptions !== undefined))) {
  if (api.exists?.() === false) continue
  const use = async () => api.use(isolated)
  if (api.reason === 'every buffer') {
    test.serial(`${api.name} throws for every buffer, isolated ones too`, (t) => t.throwsAsync(use))
  } else {
    test.serial(`${api.name} takes isolated buffers`, (t) => t.notThrowsAsync(use))
  }
}

test('an API that cut offsets to 32 bits would be found', async (t) => {
  const cut = (view: Uint8Array, memory: Memory) => new Uint8Array(memory.heap.buffer, view.byteOffset % 2 ** 32, 1)
  const reads: NodeApi = { name: 'reads', use: (m) => expectBytes(cut(m.holding(), m), SAMPLE.subarray(0, 1)) }
  const writes: NodeApi = { name: 'writes', use: (m) => void cut(m.room(), m).fill(1) }
  for (const api of [reads, writes]) {
    t.is((await outcomeOf(api, 'above 2 GiB')).outcome, 'works')
    t.is((await outcomeOf(api, 'above 4 GiB')).outcome, 'wrong')
  }
})
