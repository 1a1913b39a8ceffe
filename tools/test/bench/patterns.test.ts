import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { Heap } from '../../../lib/heap/heap.ts'
import { NativePrograms } from '../../bench/framework/native-programs.ts'
import { PATTERNS } from '../../bench/patterns/all.ts'
import { Player } from '../../bench/patterns/pattern.ts'
import { Word } from '../../bench/patterns/words.ts'
import { controlOf, patterns, playsOf, valuesOf } from '../../bench/suites/patterns.ts'

for (const [name, pattern] of Object.entries(PATTERNS)) {
  test(`${name} frees what it allocates, call after call`, (t) => {
    using heap = new Heap({ limitBytes: 2 ** 28 })
    const chunk = pattern(new Player(heap, new Int32Array(Word.Count), 0, 1))
    for (let call = 0; call < 3; call++) t.true(chunk() > 0)
    heap.audit()
    const { liveBytes } = heap.stats()
    for (let call = 0; call < 30; call++) chunk()
    heap.audit()
    // A pattern keeps a set of blocks; it doesn't grow with what it has done.
    t.true(heap.stats().liveBytes <= 4 * liveBytes + 2 ** 21)
  })
}

test('what the cores withheld is taken off, but never more than two cores are', (t) => {
  const played = { operations: 100, nanoseconds: 1000, controlAlone: 50, controlBoth: 80 }
  t.is(controlOf(played), 1.25)
  t.deepEqual(valuesOf(played, 2), { nsPerOperation: 12.5, operationsPerSecond: 1e8, control: 1.25 })
  t.is(controlOf({ ...played, controlBoth: 40 }), 2)
  t.deepEqual(valuesOf({ operations: 100, nanoseconds: 1000 }, 1), {
    nsPerOperation: 10,
    operationsPerSecond: 1e8,
    control: null,
  })
})

test('a quick run has a few plays of the full one', (t) => {
  t.is(playsOf('full').length, 22)
  t.is(playsOf('quick').length, 3)
})

test('a play of two workers, and the same in C', async (t) => {
  const [found] = await patterns.measure({ pattern: 'mstress', threads: 2, chunks: 2 })
  t.is(found!.row, 'mstress, 2 threads')
  if (!NativePrograms.areAvailable()) return
  const folder = mkdtempSync(join(tmpdir(), 'spanheap-bench-'))
  try {
    const program = new NativePrograms(folder).path('patterns')
    for (const name of Object.keys(PATTERNS).filter((each) => !['pair', 'replace', 'control'].includes(each))) {
      const values = JSON.parse(execFileSync(program, [name, '2', '2', '10'], { encoding: 'utf8' }))
      t.deepEqual(Object.keys(values), Object.keys(found!.values), name)
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
})
