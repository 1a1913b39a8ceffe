// Mutation testing of the files that only compute: changes what they do in one place after another, and sees whether their
// own tests notice. Names of files limit it to those.
//
//     npm run mutation [page-heap …]
//
// It prints each mutant that survived, and a table of scores for docs/testing.md. It fails where a score is below the bar.
import { Stryker } from '@stryker-mutator/core'

/** Percent of the mutants of a file that its tests must notice. */
const LEAST_SCORE = 80

/** A mutant whose tests take more seconds of processor time than this counts as noticed: most of them have no end. */
const SECONDS = 10

/** The files, and the tests that must notice. */
const UNITS = {
  'tcmalloc/page-heap': ['page-heap', 'page-release', 'page-heap-repair', 'page-heap-model'].map(
    (name) => `tcmalloc/${name}`
  ),
  'tcmalloc/span-lists': ['tcmalloc/span-lists'],
  'tcmalloc/size-class': ['tcmalloc/size-class'],
  'struct/layout': ['struct/layout'],
  'go/size-class': ['go/size-class'],
  'binary/varint': ['binary/model'],
  'binary/text': ['binary/text'],
  'binary/buffer-reader': ['binary/buffer-reader', 'binary/model'],
  'binary/buffer-writer': ['binary/model'],
  'binary/writer-block': ['binary/model', 'binary/refused-memory'],
}

async function mutate(unit, tests) {
  const mutants = await new Stryker({
    mutate: [`dist/lib/${unit}.js`],
    pureTests: { files: tests.map((name) => `dist/test/${name}.test.js`), seconds: SECONDS },
  }).runMutationTest()
  const count = (...wanted) => mutants.filter(({ status }) => wanted.includes(status)).length
  for (const { status, location, replacement, mutatorName } of mutants) {
    if (status === 'Killed' || status === 'Timeout') continue
    console.log(
      `dist/lib/${unit}.js:${location.start.line}:${location.start.column} ${status}: ${mutatorName} ${replacement}`
    )
  }
  const noticed = count('Killed', 'Timeout')
  return { noticed, missed: count('Survived', 'NoCoverage') }
}

const names = process.argv.slice(2)
const chosen = Object.entries(UNITS).filter(([unit]) => names.length === 0 || names.some((name) => unit.endsWith(name)))
if (chosen.length === 0) throw new Error(`known files: ${Object.keys(UNITS).join(', ')}`)

const rows = ['| File | Mutants | Not noticed | Score |', '|---|---:|---:|---:|']
for (const [unit, tests] of chosen) {
  const { noticed, missed } = await mutate(unit, tests)
  const score = (100 * noticed) / (noticed + missed)
  rows.push(`| lib/${unit}.ts | ${noticed + missed} | ${missed} | ${score.toFixed(1)} % |`)
  if (score < LEAST_SCORE) process.exitCode = 1
}
console.log(rows.join('\n'))
