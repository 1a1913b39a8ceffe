import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { GoHeap, type GoMemStats } from '../../lib/go/index.ts'
import { ROOT } from '../support/child.ts'

interface Step {
  do: 'bytes' | 'pointers' | 'keep' | 'percent' | 'collect' | 'read'
  sizes?: number[]
  count?: number
}

/** Mallocs and frees of a size. */
type BySize = Record<string, [number, number]>
type Figures = Record<string, number | BySize>

interface Program {
  name: string
  steps: Step[]
  figures: Figures[]
}

/** What Go's runtime.MemStats says of these programs; scripts/go-mem-stats.mjs writes it. */
const { go, programs }: { go: string; programs: Program[] } = JSON.parse(
  readFileSync(join(ROOT, 'test/go/mem-stats.json'), 'utf8')
)

/** Plays a program as mem-stats.go does. */
function play({ steps }: Program): GoMemStats[] {
  using heap = new GoHeap({ limitBytes: 2 ** 28, gcPercent: -1 })
  let roots: number[] = []
  const reads: GoMemStats[] = []
  const make = (step: Step, pointers: (size: number) => number[]) => {
    for (const size of step.sizes!) {
      const type = heap.defineType({ size, pointers: pointers(size) })
      for (let i = 0; i < step.count!; i++) roots.push(heap.addRoot(heap.allocate(type)))
    }
  }
  for (const step of steps) {
    switch (step.do) {
      case 'bytes':
        make(step, () => [])
        break
      case 'pointers':
        make(step, (size) => Array.from({ length: size / 8 }, (_, i) => 8 * i))
        break
      case 'keep': {
        const isKept = (_: number, i: number) => (roots.length - 1 - i) % step.count! === 0
        for (const root of roots.filter((root, i) => !isKept(root, i))) heap.removeRoot(root)
        roots = roots.filter(isKept)
        break
      }
      case 'percent':
        heap.setGCPercent(step.count!)
        break
      case 'collect':
        heap.collect()
        break
      case 'read':
        reads.push(heap.memStats())
    }
  }
  heap.audit()
  return reads
}

/** Those of the figures that Go's are there for. */
function figuresLike(expected: Figures, stats: GoMemStats): Figures {
  const others: Figures = {
    GoalMiB: Math.floor(stats.NextGC / 2 ** 20),
    Retained: stats.HeapSys - stats.HeapReleased,
    // Go's table ends with the 61st class.
    BySize: Object.fromEntries(
      stats.BySize.slice(0, 61)
        .filter(({ Mallocs, Frees }) => Mallocs + Frees > 0)
        .map(({ Size, Mallocs, Frees }) => [Size, [Mallocs, Frees]])
    ),
  }
  return Object.fromEntries(Object.keys(expected).map((name) => [name, others[name] ?? stats[name as 'Alloc']]))
}

for (const program of programs) {
  test(`memStats says of ${program.name} what ${go} says`, (t) => {
    const reads = play(program)
    t.deepEqual(
      reads.map((stats, i) => figuresLike(program.figures[i]!, stats)),
      program.figures
    )
  })
}
