// Programs that have changed what stacks and warnings are made of: each allocates, frees, loses and misuses buffers, with all that is told of it.
import { subscribe } from 'node:diagnostics_channel'
import { Heap } from '../../lib/index.ts'
import { collectGarbage } from '../support/garbage.ts'

const errors = Error as unknown as Record<string, unknown>
const programs: Record<string, () => void> = {
  plain() {},
  'frozen Error'() {
    Object.freeze(Error)
  },
  'prepareStackTrace gives an array'() {
    Error.prepareStackTrace = (_, frames) => frames
  },
  'prepareStackTrace throws'() {
    Error.prepareStackTrace = () => {
      throw new Error('no stack')
    }
  },
  'prepareStackTrace gives an array, and is frozen'() {
    Error.prepareStackTrace = (_, frames) => frames
    Object.freeze(Error)
  },
  'no limit of frames'() {
    delete errors.stackTraceLimit
  },
  'a limit that throws'() {
    const fail = () => {
      throw new Error('no limit')
    }
    Object.defineProperty(Error, 'stackTraceLimit', { get: fail, set: fail })
  },
  'no captureStackTrace'() {
    delete errors.captureStackTrace
  },
  'emitWarning throws'() {
    process.emitWarning = () => {
      throw new Error('no warnings')
    }
  },
  listeners() {
    for (const name of ['spanheap:leak', 'spanheap:misuse']) subscribe(name, (report) => reports.push(report))
  },
}

const reports: unknown[] = []
const settings = () =>
  JSON.stringify([Object.getOwnPropertyDescriptor(Error, 'stackTraceLimit')?.value, typeof errors.prepareStackTrace])
programs[process.argv[2] ?? 'plain']!()
const before = process.argv[2] === 'a limit that throws' ? '' : settings()

const heap = new Heap({ leaks: 'all' })
heap.freeBuffer(heap.allocBuffer(100))
;(() => heap.allocBuffer(100))()
await collectGarbage()
const sampled = new Heap({ leaks: 'sampled' })
for (let i = 0; i < 20_000; i++) sampled.freeBuffer(sampled.allocBuffer(100))
const debugged = new Heap({ debug: true, leaks: 'all' })
const view = debugged.allocBuffer(100)
debugged.freeBuffer(view)
let code: unknown
try {
  debugged.freeBuffer(view)
} catch (error) {
  code = (error as { code: unknown }).code
}
const { liveBytes } = sampled.stats()
for (const one of [heap, sampled, debugged]) {
  one.audit()
  one.close()
}
const isUnchanged = process.argv[2] === 'a limit that throws' || settings() === before
process.stdout.write(JSON.stringify({ liveBytes, code, isUnchanged, reports: reports.length }))
