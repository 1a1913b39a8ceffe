import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import fc from 'fast-check'
import { shippedTrace } from '../../trace/shipped.ts'
import { Operation, readTrace, type Trace } from '../../trace/trace.ts'
import { TraceWriter } from '../../trace/trace-writer.ts'

const folder = mkdtempSync(join(tmpdir(), 'spanheap-writer-'))
test.after.always(() => rmSync(folder, { recursive: true }))

interface Event {
  operation: Operation
  thread: number
  slot: number
  size: number
  alignmentLog2: number
}

/** Makes of any events those that a trace may have: what allocates into a full slot is a realloc, and so on. */
function legal(events: Event[]): Event[] {
  const full = new Set<number>()
  return events.map((event) => {
    const { slot } = event
    const isFull = full.has(slot)
    const allocates = event.operation === Operation.Malloc || event.operation === Operation.Calloc
    const operation = allocates === isFull ? (isFull ? Operation.Realloc : Operation.Malloc) : event.operation
    if (operation === Operation.Free) full.delete(slot)
    else full.add(slot)
    const size = operation === Operation.Free ? 0 : event.size
    return { ...event, operation, size, alignmentLog2: operation === Operation.Malloc ? event.alignmentLog2 : 0 }
  })
}

const anyEvent = fc.record({
  operation: fc.constantFrom<Operation>(Operation.Malloc, Operation.Free, Operation.Realloc, Operation.Calloc),
  thread: fc.nat(255),
  slot: fc.nat(20),
  size: fc.oneof(fc.nat(300), fc.nat(2 ** 32 - 1)),
  alignmentLog2: fc.oneof(fc.constant(0), fc.nat(26)),
})

function eventsOf(trace: Trace): Event[] {
  return Array.from({ length: trace.events }, (_, at) => ({
    operation: trace.operation[at] === Operation.AlignedMalloc ? Operation.Malloc : trace.operation[at]!,
    thread: trace.thread[at]!,
    slot: trace.slot[at]!,
    size: trace.size[at]!,
    alignmentLog2: trace.alignmentLog2[at]!,
  }))
}

async function written(events: Event[], name = 'any.mtrc'): Promise<string> {
  const writer = new TraceWriter()
  for (const { operation, thread, slot, size, alignmentLog2 } of events) {
    writer.append(operation, thread, slot, size, alignmentLog2)
  }
  const path = join(folder, name)
  await writer.write(path)
  return path
}

for (const name of ['packed.mtrc.gz', 'plain.mtrc']) {
  test(`what is written is read the same: ${name}`, async (t) => {
    await fc.assert(
      fc.asyncProperty(fc.array(anyEvent, { maxLength: 100 }), async (events) => {
        const expected = legal(events)
        const trace = readTrace(await written(expected, name))
        t.deepEqual(eventsOf(trace), expected)
        t.is(trace.threads, Math.max(1, ...expected.map(({ thread }) => thread + 1)))
        t.is(trace.slots, Math.max(0, ...expected.map(({ slot }) => slot + 1)))
      }),
      { numRuns: 100 }
    )
  })
}

/** Whether two traces have the same events. Column by column: an object for each of half a million would take a minute. */
function isSame(one: Trace, other: Trace): boolean {
  const columns = ['operation', 'thread', 'alignmentLog2', 'slot', 'size'] as const
  return columns.every((column) => one[column].every((value, event) => value === other[column][event]))
}

test('a trace of more than one chunk is read the same', async (t) => {
  const events = Array.from({ length: 150_000 }, (_, at) => ({
    operation: at % 2 === 0 ? Operation.Malloc : Operation.Free,
    thread: 0,
    slot: 7,
    size: at % 2 === 0 ? at : 0,
    alignmentLog2: 0,
  }))
  const trace = readTrace(await written(events, 'long.mtrc.gz'))
  t.is(trace.events, events.length)
  t.true(events.every(({ operation, size }, at) => trace.operation[at] === operation && trace.size[at] === size))
})

test('a trace of the package, written again, has the same events', async (t) => {
  const trace = readTrace(shippedTrace('sqlite'))
  const again = await written(eventsOf(trace), 'sqlite.mtrc.gz')
  t.true(isSame(readTrace(again), trace))
})

test('what a record can’t hold becomes the most that it can', async (t) => {
  const trace = readTrace(
    await written([{ operation: Operation.Malloc, thread: 1000, slot: 0, size: 2 ** 40, alignmentLog2: 30 }])
  )
  t.deepEqual([trace.thread[0], trace.size[0], trace.alignmentLog2[0]], [255, 2 ** 32 - 1, 26])
})

test('a name that ends in .mtrc isn’t packed, and an empty trace is one', async (t) => {
  const path = await written([], 'empty.mtrc')
  t.is(readFileSync(path).length, 32)
  t.like(readTrace(path), { events: 0, slots: 0, threads: 1 })
})
