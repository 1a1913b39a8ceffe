import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { text as read } from 'node:stream/consumers'
import { Worker } from 'node:worker_threads'
import test from 'ava'
import { ROOT, run } from '../support/child.ts'
import { endsWithParent } from '../support/orphan.ts'
import { exact, numbersOf, readStory, samplesOf, textOf } from '../support/story.ts'

const story = readStory()
const samples = samplesOf(story)
const sections = story.split(/^(?=## )/m)

for (const { script, args, printed } of samples) {
  test.serial(`the story's script ${script} prints what the document says`, async (t) => {
    const { status, stdout, stderr } = await run(process.execPath, [`examples/story/${script}.js`, ...args], 180)
    t.is(status, 0, stderr)
    t.deepEqual(exact(stdout).split('\n'), exact(printed).split('\n'))
  })
}

/** What a script prints, by the document; the test above sees to it that it's true. */
function printedBy(script: string): string {
  return samples.find((sample) => sample.script === script)!.printed
}

/** The cells of a line that begins with a word, as numbers. */
function cellsOf(script: string, line: RegExp): number[] {
  const [found] = printedBy(script).match(line)!
  return numbersOf(found).map(Number)
}

/** The share of a row that a column is of another one, in whole per cent, of all rows of a part. */
function shares(part: number, column: number, of: number): Set<number> {
  const rows = printedBy('08-fragmentation').split(/^ {2}\w+ +live.*$/m)[part]!
  const cells = [...rows.matchAll(/^ {4}round \d+ .*$/gm)].map(([row]) => numbersOf(row).map(Number))
  return new Set(cells.map((row) => Math.round((100 * row[column]!) / row[of]!)))
}

/** What the text says of a sample in words of its own: the numbers, and how they follow from what is printed. */
const DERIVED: [said: RegExp, numbers: () => (number | string)[]][] = [
  [/The (\d+) objects above would stay/, () => [cellsOf('01-by-hand-or-by-machine', /cut behind .*/)[2]!]],
  [
    /: (\d+) page faults \(Node has some of its own meanwhile\), (\d+) MiB\. The heap's tables take .* KiB, which shows as (\d+)/,
    () => {
      const [pages, bytes] = cellsOf('03-virtual-memory', /in each of .*/) as [number, number]
      return [pages, (pages * bytes) / 2 ** 20, cellsOf('03-virtual-memory', /a new heap .*/).at(-1)!]
    },
  ],
  [
    /The heap makes (\d+) calls of `mmap` and (\d+) of `madvise` for its start and its first block/,
    () => {
      const [made, first] = [/a new Heap .*/, /the first malloc .*/].map((line) => cellsOf('04-system-call', line))
      return [made![0]! + first![0]!, made![2]! + first![2]!]
    },
  ],
  [
    /Each of the (\d+) calls takes a lock and gives it back: (\d+) atomic operations/,
    () => [2 * cellsOf('06-one-lock', /of \d+ pairs/)[0]!, cellsOf('06-one-lock', /cacheBytes +0 .*operations/)[1]!],
  ],
  [
    /Of ([\d ]+) calls of a real program (\d+) % needed nothing but the thread cache, and (\d+) needed the system/,
    () => {
      const [percent] = cellsOf('07-tiers', /.* % went/) as [number]
      const system = cellsOf('07-tiers', /system .*/)
      return [cellsOf('07-tiers', /.* events of/)[0]!, Math.round(percent), system[0]! + system[1]!]
    },
  ],
  [
    /such as (\d+) after (\d+), if a span came/,
    () => /1 1 2 .* (15) (7) /.exec(printedBy('07-tiers'))!.slice(1).reverse(),
  ],
  [
    /twice the same (\d+) blocks live/,
    () => {
      const [blocks, , , one] = cellsOf('08-fragmentation', /.*survives/) as [number, number, number, number]
      return [blocks / one]
    },
  ],
  [/loses (\d) or (\d) %, and no more after/, () => [...shares(1, 2, 1)].sort()],
  [
    /The list loses (\d+) %, most of it to headers/,
    () => {
      const [row] = printedBy('08-fragmentation').match(/FreeListHeap[\s\S]*?round 12 .*/)!
      const [live, headers, free] = numbersOf(row.slice(row.lastIndexOf('round 12') + 8)).map(Number)
      return headers! > free! ? [Math.round((100 * (headers! + free!)) / live!)] : []
    },
  ],
  [
    /After the first object of 64 bytes (\d+) bytes are free in the cache; after the (\d+)th it has the next span/,
    () => {
      const [free, , , , , , , last] = cellsOf('09-go-allocator', /free bytes in it .*/)
      return [free!, last!]
    },
  ],
  [
    /the first (\d+) slices mark, and then each sweeps (\d+) spans, of which (\d+) or (\d+) become free/,
    () => {
      const counts = cellsOf('10-mark-and-sweep', /after each slice: .*/)
      const marking = counts.filter((count) => count === counts[0]).length
      const freed = counts.slice(marking, -1).map((count, i) => counts[marking + i - 1]! - count)
      return [marking, cellsOf('10-mark-and-sweep', /the sweep, .* a slice/)[0]!, ...[...new Set(freed)].sort()]
    },
  ],
  [
    /slice (\d+) finds that nothing is grey/,
    () => [Number(printedBy('10-mark-and-sweep').match(/(\d) .*\nthe cycle/)![1])],
  ],
]

test('what the text says of the samples follows from them', (t) => {
  const text = story.replace(/\s+/g, ' ')
  for (const [said, numbers] of DERIVED) {
    const found = said.exec(text)
    t.truthy(found, `${said}`)
    t.deepEqual(
      found!.slice(1).map((number) => number.replaceAll(' ', '')),
      numbers().map(String),
      `${said}`
    )
  }
})

/** By section: numbers that none of its scripts prints, since they are of other systems, of units, or of a drawing's example. */
const OTHERS: string[][] = [
  ['system pages of 4 KiB', 'Node 20.20'],
  [],
  [],
  [
    ...[
      'exchange pages of 8 KiB',
      '8 KiB is the allocator',
      'first paper had 4 KiB',
      '4 KiB on most machines',
      '16 KiB on Apple',
    ],
    ...['grows by 1 MiB at least', 'by 4 MiB from arenas', 'offset, 12 bits', 'frame 7'],
    ...[16, 17, 18, 19, 20].map((page) => `page ${page}`),
    ...[1, 2, 3, 4, 5, 6].map((frame) => `frame ${frame}`),
  ],
  ['from 128 KiB on'],
  [],
  ['thread 1', 'thread 2'],
  [],
  ['100 bytes asked for', 'get 112', 'class of 112', '1 page', 'a block of 200', 'grows by 1 MiB'],
  [
    ...['up to 1.15 had 66 sizes', 'Since 1.16', 'up to 256 KiB', 'holds 512 objects of 16 bytes', 'up to Go 1.21'],
    ...['Since 1.22', 'objects up to 512 bytes', 'bits: 504', 'default from 1.26', '504 without pointers, 496 with'],
    ...['for Go up to 1.14', 'for 1.12 and 1.13'],
  ],
  ['32 KiB large', 'up to Go 1.7', '6 free slots'],
  ['of 10 ms', 'of 0.2 ms', 'words of 8 bytes', '48 bytes', '24 bytes', 'class of 24', '1 1 0'],
  [],
]

test('every number of the text and of the drawings is one that is compared', (t) => {
  t.is(sections.length, OTHERS.length)
  for (const [i, section] of sections.entries()) {
    const drawings = [...section.matchAll(/\]\(story\/([\w-]+\.svg)\)/g)].map(([, drawing]) => textOf(drawing!))
    let text = [section.replace(/^```[\s\S]*?^```$/gm, ''), ...drawings].join(' ')
    // Headings, lists, links, and references to other sections.
    text = text.replace(/^## .*|^\d+\. .*|\]\([^)]*\)|section\s+\d+/gm, '').replace(/\s+/g, ' ')
    for (const [said] of DERIVED) text = text.replace(said, '')
    for (const other of OTHERS[i]!) {
      t.true(text.includes(other), `section ${i} doesn't say ${other} any more`)
      text = text.replaceAll(other, '')
    }
    const printed = samplesOf(section).flatMap(({ args, printed }) => numbersOf([...args, printed].join(' ')))
    const unknown = numbersOf(text.replace(/(\d) (?=000\b)/g, '$1')).filter((number) => !printed.includes(number))
    t.deepEqual(unknown, [], `section ${i}: what do these numbers follow from?`)
  }
})

test('the drawing of a list of blocks is what its script prints', (t) => {
  const rows = /^ {2}(c = 200|free\(a\)|malloc\(90\)|free\(b\)|free\(d\)).*$/gm
  const printed = [...printedBy('05-free-list').matchAll(rows)].map(([row]) => numbersOf(row.slice(row.indexOf('['))))
  const svg = readFileSync(join(ROOT, 'docs/story/05-free-list.svg'), 'utf8')
  const drawn = new Map<string, string[]>()
  for (const [, y, text] of svg.matchAll(
    /<text class="[^"]*middle[^"]*" x="[\d.]+" y="([\d.]+)">(?:[a-d] )?(\d+)<\/text>/g
  ))
    drawn.set(y!, [...(drawn.get(y!) ?? []), text!])
  t.deepEqual([...drawn.values()], printed)
})

test('the drawing of the colours is what its script prints', (t) => {
  const rows = [...printedBy('10-mark-and-sweep').matchAll(/^ {2}\d +((?:(?:white|grey|BLACK) *){7})$/gm)]
  const printed = rows.map(([, colours]) => colours!.trim().toLowerCase().split(/ +/))
  const svg = readFileSync(join(ROOT, 'docs/story/10-mark.svg'), 'utf8')
  const panels = svg
    .slice(svg.indexOf('at the start'), svg.indexOf('not reached yet'))
    .split(/<text(?: class="head")? x="\d+" y="\d+">\d/)
  const circles = panels.map((panel) => {
    const found = [
      ...panel.matchAll(/<circle class="(\w+)" [^>]*r="16"\/>\s*<text class="[^"]*on-(\w+)"[^>]*>([A-G])</g),
    ]
    for (const [, colour, under] of found) t.is(under, colour === 'black' ? 'black' : 'white')
    t.is(found.map(([, , , name]) => name).join(''), 'ABCDEFG')
    return found.map(([, colour]) => colour)
  })
  t.deepEqual(circles, printed.slice(0, -1), 'all slices but the last, which changes nothing')
  t.deepEqual(printed.at(-1), printed.at(-2))
  // What a panel says: the object that became black.
  const scanned = [...svg.matchAll(/(\d)(?: slice)?: ([A-G]) was scanned/g)].map(([, slice, name]) => [
    Number(slice),
    name,
  ])
  const blackened = circles.slice(1).map((panel, i) => {
    const at = panel.findIndex((colour, object) => colour === 'black' && circles[i]![object] !== 'black')
    return [i + 1, 'ABCDEFG'[at]]
  })
  t.deepEqual(scanned, blackened)
})

test('every script is in the document', (t) => {
  const names = readdirSync(join(ROOT, 'examples/story')).filter((file) => /^\d/.test(file))
  t.deepEqual(names.sort(), samples.map(({ script }) => `${script}.js`).sort())
})

test('every drawing is in the document, and every one that is in it is there', (t) => {
  const shown = [...story.matchAll(/\]\(story\/([\w-]+\.svg)\)/g)].map(([, file]) => file!)
  t.deepEqual(shown.sort(), readdirSync(join(ROOT, 'docs/story')).sort())
})

/** A script in a thread of its own, whose start takes half as long as a process's. */
async function inThread(script: string, argv: readonly string[]) {
  const thread = new Worker(join(ROOT, script), { argv: [...argv], stdout: true, stderr: true })
  const [[status], stdout, stderr] = await Promise.all([once(thread, 'exit'), read(thread.stdout), read(thread.stderr)])
  return { status, stdout, stderr }
}

test('a script says which arguments it takes, and ends at once with others', async (t) => {
  const wrong = [['0'], ['-1'], ['1.5'], ['1e3'], ['x'], [''], ['NaN'], ['9'.repeat(20)], ['1000', '1']]
  for (const { script } of samples) {
    // What an integer is they have from one place; its bounds are a script's own.
    const counts = script === '11-same-graph' ? wrong : [wrong[0]!, wrong.at(-2)!, wrong.at(-1)!]
    const tries = script === '07-tiers' ? counts.map((count) => ['tools/traces/jq.mtrc.gz', ...count]) : counts
    if (script === '07-tiers') tries.push(['nothing'], ['README.md'])
    // One that starts threads of itself is another program there.
    const hasThreads = readFileSync(join(ROOT, `examples/story/${script}.js`), 'utf8').includes('isMainThread')
    const start = (file: string, args: string[]) =>
      hasThreads ? run(process.execPath, [file, ...args]) : inThread(file, args)
    await Promise.all(
      tries.map(async (args) => {
        const { status, stdout, stderr } = await start(`examples/story/${script}.js`, args)
        t.is(status, 2, `${script} ${args.join(' ')}: ${stderr}`)
        t.is(stdout, '')
        t.regex(stderr, new RegExp(`^.+\\nusage: node examples/story/${script}\\.js( \\[[A-Z []+\\]+)?\\n$`))
      })
    )
  }
})

test('a child of a script ends when the script is killed', (t) =>
  endsWithParent(t, ['examples/story/11-same-graph.js', '5000000']))
