import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { ROOT } from '../support/child.ts'
import { expectedOutcome, PLACES, VERSIONS } from './api.ts'
import { GROUPS } from './list.ts'
import { exceptions, exceptionsByReason, families, takingIn } from './table.ts'

const apis = GROUPS.flatMap((group) => group.apis)

/** What stands under a heading, up to the next one of its level. */
function section(heading: string): string {
  const document = readFileSync(join(ROOT, 'docs/node-apis.md'), 'utf8')
  const [, text] = document.split(`\n## ${heading}\n`)
  return text?.split('\n## ')[0] ?? ''
}

test('the document shows every API of the list, and what the list says comes of it', (t) => {
  t.is(section('All').trim(), families(expectedOutcome))
})

test('its exceptions are all that the list has', (t) => {
  t.true(section('Exceptions').includes(`\n${exceptions(expectedOutcome)}\n`))
})

test('what is not for buffers of a heap are at most five things, and each throws or takes the ArrayBuffer', (t) => {
  const reasons = exceptionsByReason(expectedOutcome)
  t.false(reasons.has(undefined))
  t.true(reasons.size <= 5)
  for (const { exceptions = [] } of [...reasons.values()].flat()) {
    for (const { outcome } of exceptions) t.regex(outcome, /^(refused: |taken)/)
  }
})

test('the ArrayBuffer is taken by transfers and byte streams, on Node 20 and 22, and never above 4 GiB', (t) => {
  const reasons = (major: number) => [...new Set(takingIn(major, expectedOutcome).map(({ reason }) => reason))]
  t.deepEqual(
    VERSIONS.map((major) => reasons(major)),
    [['enqueue', 'byob'], ['transfer', 'enqueue', 'byob'], [], []]
  )
  t.deepEqual(
    VERSIONS.map((major) => takingIn(major, expectedOutcome).length),
    [10, 12, 0, 0]
  )
  for (const major of VERSIONS) {
    for (const api of takingIn(major, expectedOutcome)) {
      const taken = PLACES.map((place) => expectedOutcome(api, major, place).startsWith('taken'))
      t.deepEqual(taken, [true, true, false], api.name)
    }
  }
})

test('it says which version of Node each column was taken with', (t) => {
  for (const major of VERSIONS) t.regex(section('How it was made'), new RegExp(`\\b${major}\\.\\d+\\.\\d+\\b`))
})

test('every API has a name of its own, and there are at least 157', (t) => {
  t.is(new Set(apis.map(({ name }) => name)).size, apis.length)
  t.true(apis.length >= 157)
})
