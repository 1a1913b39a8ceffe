import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import test from 'ava'
import { type Ended, ROOT, run } from '../../../test/support/child.ts'
import { writeTrace } from '../support/trace-file.ts'

const folder = mkdtempSync(join(tmpdir(), 'spanheap-test-'))
test.after.always(() => rmSync(folder, { recursive: true }))

function spanheap(...args: string[]): Promise<Ended> {
  return run(process.execPath, [join(ROOT, 'dist/tools/cli/main.js'), ...args])
}

function fileOf(name: string, bytes: Uint8Array): string {
  const path = join(folder, name)
  writeFileSync(path, bytes)
  return path
}

const packed = writeTrace(join(folder, 'good.mtrc.gz'), 2, [
  ['malloc', 0, 100],
  ['malloc', 1, 200],
])
const unpacked = readFileSync(writeTrace(join(folder, 'good.mtrc'), 1, [['malloc', 0, 100]]))

const badInputs: [title: string, path: string, message: RegExp][] = [
  ['a file that isn’t there', join(folder, 'missing.mtrc'), /missing\.mtrc/],
  ['a folder', folder, new RegExp(`directory.*${basename(folder)}|${basename(folder)}.*directory`)],
  ['an empty file', fileOf('empty', Buffer.alloc(0)), /empty.*offset 0.*cut short/],
  ['no trace', fileOf('text', Buffer.from('a text of no interest, but long enough')), /text.*no trace/],
  ['a trace that is cut short', fileOf('cut', unpacked.subarray(0, unpacked.length - 5)), /cut.*offset 39.*cut short/],
  [
    'a packed trace that is cut short',
    fileOf('cut.gz', readFileSync(packed).subarray(0, 40)),
    /cut\.gz.*offset 56.*cut short/,
  ],
  [
    'a free of an empty slot',
    writeTrace(join(folder, 'empty-slot.mtrc'), 2, [
      ['malloc', 0, 10],
      ['free', 1],
    ]),
    /empty-slot\.mtrc.*offset 44.*event 1 frees slot 1, which is empty/,
  ],
  [
    'a realloc of an empty slot',
    writeTrace(join(folder, 'no-block.mtrc'), 1, [['realloc', 0, 10]]),
    /no-block\.mtrc.*offset 32.*event 0 reallocates slot 0, which is empty/,
  ],
  [
    'a malloc into a full slot',
    writeTrace(join(folder, 'full-slot.mtrc'), 1, [
      ['malloc', 0, 10],
      ['malloc', 0, 10],
    ]),
    /full-slot\.mtrc.*offset 44.*event 1 allocates into slot 0, which is full/,
  ],
]

for (const [title, path, message] of badInputs) {
  test(`${title}: status 1, and one line that says what and where`, async (t) => {
    for (const allocator of ['tcmalloc', 'buffer']) {
      const { status, stdout, stderr } = await spanheap('replay', path, '--allocator', allocator, '--json')
      t.is(status, 1, stderr)
      t.is(stdout, '')
      t.regex(stderr, /^spanheap: [^\n]+\n$/)
      t.regex(stderr, message)
    }
  })
}

test('compare says it in the same way', async (t) => {
  const { status, stdout, stderr } = await spanheap('compare', join(folder, 'missing.mtrc'))
  t.is(status, 1)
  t.is(stdout, '')
  t.regex(stderr, /^spanheap: [^\n]*missing\.mtrc[^\n]*\n$/)
})

test('a ledger that can’t be written: status 1, and one line that names it', async (t) => {
  const ledger = join(folder, 'no such folder', 'ledger')
  const { status, stdout, stderr } = await spanheap('replay', packed, '--allocator', 'tcmalloc', '--ledger', ledger)
  t.is(status, 1)
  t.is(stdout, '')
  t.regex(stderr, /^spanheap: [^\n]*no such folder[^\n]*\n$/)
  t.false(existsSync(ledger))
})

const wrongUsages: [title: string, args: string[]][] = [
  ['no command', []],
  ['an unknown command', ['rewind']],
  ['no trace', ['replay', '--allocator', 'tcmalloc']],
  ['two traces', ['replay', packed, packed, '--allocator', 'tcmalloc']],
  ['no allocator', ['replay', packed]],
  ['an unknown allocator', ['replay', packed, '--allocator', 'nedmalloc']],
  ['an unknown option', ['replay', packed, '--allocator', 'tcmalloc', '--fast']],
  ['a kind of memory, which there was', ['replay', packed, '--allocator', 'tcmalloc', '--memory', 'shared']],
  ['no rounds', ['replay', packed, '--allocator', 'tcmalloc', '--rounds', '0']],
  ['half an event', ['replay', packed, '--allocator', 'tcmalloc', '--events', '0.5']],
  ['a suite that isn’t there', ['bench', '--only', 'weather']],
]

for (const [title, args] of wrongUsages) {
  test(`${title} is wrong usage: status 2`, async (t) => {
    const { status, stdout, stderr } = await spanheap(...args)
    t.is(status, 2, stderr)
    t.is(stdout, '')
    t.not(stderr, '')
  })
}
