import test from 'ava'
import { countBetweenMarks } from '../../bench/suites/traces-calls.ts'
import { liveAfter, measureReplay, stopsOf } from '../../bench/suites/traces-process.ts'
import { shippedTrace } from '../../trace/shipped.ts'
import { readTrace } from '../../trace/trace.ts'

const path = shippedTrace('gcc')
const little = { path, events: 3000, replays: 2, milliseconds: 10 }

test('a watched replay stops evenly, at the peak of live bytes and at the end, each once', (t) => {
  t.deepEqual(stopsOf({ events: 100, peakEvent: 12 }, 4), [13, 25, 50, 75, 100])
  t.deepEqual(stopsOf({ events: 100, peakEvent: 99 }, 2), [50, 100])
  t.deepEqual(stopsOf({ events: 2, peakEvent: 0 }, 100), [1, 2])
})

test('what is live after each event reaches the peak that the trace has', (t) => {
  const trace = readTrace(path, 3000)
  const live = liveAfter(trace)
  t.is(Math.max(...live), trace.peakLiveBytes)
  t.is(live.indexOf(trace.peakLiveBytes), trace.peakEvent)
})

for (const allocator of ['tcmalloc', 'go', 'freelist', 'direct', 'buffer', 'thi.ng'] as const) {
  test(`the start of a trace is replayed on ${allocator}`, async (t) => {
    const [times] = await measureReplay({ kind: 'replay', row: 'gcc', allocator, touch: false, ...little })
    t.true(times!.values.nsPerEvent! > 0)
    t.true(times!.values.coldNsPerEvent! > 0)
    const [memory] = await measureReplay({ kind: 'replay', row: 'gcc', allocator, touch: true, ...little })
    t.true(memory!.values.touchedNsPerEvent! > 0)
    t.is(memory!.series!.live!.at(-1)![0], 3000)
    if (process.platform !== 'linux' || allocator === 'buffer' || allocator === 'thi.ng') return
    t.true(memory!.values.residentOverLive! >= 1)
    t.true(memory!.values.mappedOverLive! >= 1)
    t.true(memory!.values.systemCalls! > 2)
  })
}

test('calls are counted between the marks, those of other threads too, and a call in two lines once', (t) => {
  const output = [
    '100 brk(NULL) = 0x5',
    '100 getppid() = 1',
    '100 mmap(NULL, 8192, PROT_READ, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0 <unfinished ...>',
    '101 madvise(0x7f0000002000, 4096, MADV_DONTNEED) = 0',
    '100 <... mmap resumed>)               = 0x7f0000000000',
    '100 getppid() = 1',
    '100 munmap(0x7f0000003000, 8192) = 0',
    '100 +++ exited with 0 +++',
  ].join('\n')
  t.is(countBetweenMarks(output), 2)
  t.throws(() => countBetweenMarks('100 brk(NULL) = 0x5'), { message: /marks/ })
})
