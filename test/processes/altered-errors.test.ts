import test from 'ava'
import { reportOf, runChild } from '../support/child.ts'

const right = { liveBytes: 0, code: 'ERR_HEAP_DOUBLE_FREE', isUnchanged: true, reports: 0 }

/** Programs of children/altered-errors.ts. What is found wrong is told to nobody there, or in other words, but no call fails for it. */
const programs = [
  'plain',
  'frozen Error',
  'prepareStackTrace gives an array',
  'prepareStackTrace throws',
  'prepareStackTrace gives an array, and is frozen',
  'no limit of frames',
  'a limit that throws',
  'no captureStackTrace',
  'emitWarning throws',
]

for (const program of programs) {
  test(`what is told of leaks and misuse fails no call: ${program}`, async (t) => {
    t.deepEqual(reportOf(await runChild('altered-errors', [program])), right)
  })
}

test('what is told of leaks and misuse fails no call under --frozen-intrinsics', async (t) => {
  t.deepEqual(reportOf(await runChild('altered-errors', ['plain'], ['--frozen-intrinsics'])), right)
})

test('who listens is told of both', async (t) => {
  t.deepEqual(reportOf(await runChild('altered-errors', ['listeners'])), { ...right, reports: 2 })
})

test('a stack is told whatever the program makes of stacks', async (t) => {
  for (const program of [
    'plain',
    'frozen Error',
    'prepareStackTrace gives an array',
    'prepareStackTrace throws',
    'no limit of frames',
  ]) {
    const { stderr } = await runChild('altered-errors', [program])
    t.regex(stderr, /was collected, but never given back[\s\S]*allocated\n +at .*altered-errors\.js/, program)
  }
})
