import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { ROOT, run } from './support/child.ts'

/** The scripts of docs/the-story.md, with arguments that make them short, and some of what each must print. */
const SCRIPTS: [name: string, args: string[], facts: RegExp[]][] = [
  [
    '01-by-hand-or-by-machine',
    ['3000'],
    [
      /100 forgotten: 11200 bytes stay/,
      /freed twice: ERR_HEAP_DOUBLE_FREE/,
      /now reads "a stranger"/,
      /that one root leads to: 1000 live/,
      /cut behind the 100th: 100 live/,
      /the root removed: 0 live/,
      /3000 objects live: +48000 bytes marked/,
    ],
  ],
  [
    '02-stack-and-heap',
    ['50'],
    [/50 calls deep, .*: 51 objects/, /all have returned: 2 objects/, /lets go of it: 1 object\n/],
  ],
  [
    '03-virtual-memory',
    ['16'],
    [
      /a new heap .* 0\.0 /,
      /16 MiB given back .* 16\.0 /,
      /what was 42 before the release reads 0:/,
      /system calls in all: mmap 7, madvise 7/,
    ],
  ],
  [
    '04-system-call',
    ['2000'],
    [
      /a new Heap +4 +0 +2\n/,
      /DirectHeap: malloc, free +2000 +2000 +0 /,
      /Heap: malloc, free +0 +0 +0 /,
      /1638400 blocks held, mapped 10 -> 100 MiB +91 +0 +1 /,
    ],
  ],
  [
    '05-free-list',
    ['1600'],
    [
      /malloc\(90\): first fit +\[free 48\] \[used 112\] \[used 96\] \[free 96\]/,
      /merge both +\[free 176\] \[used 96\] \[free 3776\]/,
      /FreeListHeap: ERR_HEAP_CORRUPT/,
      /Heap: the audit passes/,
      /"exact" +4096 calls/,
      /"step":1048576\} +17 calls/,
    ],
  ],
  ['06-one-lock', ['5000'], [/threadCache true +0 operations/, /threadCache false +4000 operations/]],
  [
    '07-tiers',
    ['traces/jq.mtrc.gz', '5000'],
    [
      /\n {2}1 1 2 3 4 5 6 7 8 9 /,
      /512 in each span of 8192 bytes/,
      /262145 bytes asked for, +270336 given/,
      /5000 events/,
    ],
  ],
  [
    '08-fragmentation',
    ['3'],
    [
      /one on each page +65536 bytes live, 0 given back: 128\.0/,
      /all on 8 pages +65536 bytes live, 8323072 given back: 1\.0/,
      /round 3 /,
    ],
  ],
  [
    '09-go-allocator',
    ['1000'],
    [
      /67 sizes: 8 16 24 32 48 64 80 96 \.\.\. 27264 28672 32768/,
      /134 span classes; 136 with/,
      /8128 after 1, 8064 after 2, 0 after 128, 8128 after 129/,
      /32768 bytes get 32768, 32769 bytes get 40960/,
      /17 tiny objects of 1 byte: 2 blocks of 16/,
      /10 pages go to 28, 5 pages to 13/,
    ],
  ],
  [
    '10-mark-and-sweep',
    [],
    [
      /1 +BLACK +grey +grey +white +white +white +white/,
      /5 +BLACK +BLACK +BLACK +BLACK +BLACK +white +white/,
      /15 objects before, 11 after; gone: F G/,
      /by setPointer, which tells the collector: D lives/,
      /written past the barrier: D is lost/,
      /end of this cycle: E lives, the new one lives/,
      /end of the next: +E is gone, the new one is gone/,
      /objects after each slice: 161 .* 21\n/,
    ],
  ],
  ['11-same-graph', ['20000'], [/bytes of a node +\d+\.\d +24\.0/]],
]

for (const [name, args, facts] of SCRIPTS) {
  test.serial(`the story's script ${name} prints what the document says`, async (t) => {
    const { status, stdout, stderr } = await run(process.execPath, [`examples/story/${name}.js`, ...args])
    t.is(status, 0, stderr)
    for (const fact of facts) t.regex(stdout, fact)
  })
}

test('every script is tested, and in the document', (t) => {
  const names = readdirSync(join(ROOT, 'examples/story')).map((file) => file.replace(/\.js$/, ''))
  t.deepEqual(
    names.sort(),
    SCRIPTS.map(([name]) => name)
  )
  const story = readFileSync(join(ROOT, 'docs/the-story.md'), 'utf8')
  for (const name of names) t.true(story.includes(`node examples/story/${name}.js`), name)
})

test('every drawing is in the document, and every one that is in it is there', (t) => {
  const story = readFileSync(join(ROOT, 'docs/the-story.md'), 'utf8')
  const shown = [...story.matchAll(/\]\(story\/([\w-]+\.svg)\)/g)].map(([, file]) => file!)
  t.deepEqual(shown.sort(), readdirSync(join(ROOT, 'docs/story')).sort())
})
