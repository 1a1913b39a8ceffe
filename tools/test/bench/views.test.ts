import test from 'ava'
import { mediansOf } from '../../bench/framework/result.ts'
import { openSide, round, type Side } from '../../bench/suites/buffer-pairs.ts'
import { views } from '../../bench/suites/views.ts'

const SIDES: readonly Side[] = [
  ...(['heap', 'unwatched', 'zeroed', 'pool', 'unwatched pool'] as const),
  ...(['allocUnsafe', 'allocUnsafeSlow', 'alloc', 'Uint8Array'] as const),
]

for (const side of SIDES) {
  test(`buffers are made and given up: ${side}`, async (t) => {
    const rows = await views.measure({ side, sizes: [64, 65536], milliseconds: 2 })
    t.deepEqual(
      rows.map(({ row }) => row),
      [64, 65536]
    )
    for (const { values } of rows) {
      for (const metric of ['atOnce', 'ring', 'filled', 'copied']) t.true(values[metric]! > 0, metric)
      t.true(values.collections! >= 0)
    }
  })
}

test('a ring has fewer buffers where they are large, and a round counts its pairs', (t) => {
  const pairsOf = openSide('unwatched')
  t.deepEqual(
    [16, 2 ** 20, 4 * 2 ** 20, 16 * 2 ** 20].map((size) => pairsOf('at once', size).perTurn),
    [64, 64, 16, 4]
  )
  let turns = 0
  const counted = { perTurn: 3, turn: () => void turns++, end() {} }
  const { pairs, ns } = round(counted, 1)
  t.is(pairs, 3 * turns)
  t.true(ns >= 1e6)
})

test('a claim is held against the worse of both ways', (t) => {
  const of = (contender: string, metric: string, median: number) => ({
    ...{ row: 65536, contender, metric, median },
    ...{ low: median, high: median, samples: [median], isNoisy: false },
  })
  const [ours, theirs] = ['Heap: allocBuffer, freeBuffer', 'Buffer.allocUnsafe']
  const verdicts = views.verdicts!(
    mediansOf([
      ...[of(ours!, 'atOnce', 50), of(ours!, 'ring', 100), of(theirs!, 'atOnce', 2000), of(theirs!, 'ring', 1200)],
      ...[of(ours!, 'filled', 100), of(theirs!, 'filled', 600), of(ours!, 'copied', 300), of(theirs!, 'copied', 600)],
      ...[of('Pool: acquire, release', 'atOnce', 5), of('Pool: acquire, release', 'collections', 0.5)],
    ])
  )
  t.deepEqual(
    verdicts.map(({ value, bar }) => [value, bar]),
    [
      [12, { least: 15 }],
      [2, { least: 3 }],
      [0.5, { most: 0.1 }],
    ]
  )
})
