import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { ROOT, run } from '../support/child.ts'

/** So many lines a recipe may change of a program. */
const MOST_CHANGED = 8
/** Uploads, requests, records, frames, messages: what takes a moment. */
const WORK: Readonly<Record<string, number>> = {
  uploads: 24,
  proxy: 100,
  messages: 1500,
  frames: 20,
  broadcast: 20,
  broker: 40,
}
const FOLDER = join(ROOT, 'examples/recipes')
const programs = readdirSync(FOLDER)
const versionsOf = (program: string) =>
  readdirSync(join(FOLDER, program)).filter((name) => name === 'before.js' || name === 'after.js')

/** The lines of a program, but for comments. */
const linesOf = (program: string, version: string) =>
  readFileSync(join(FOLDER, program, version), 'utf8')
    .split('\n')
    .filter((line) => !/^\s*(\/\/|\/\*\*)/.test(line))

/** How many lines two programs have in common, in the same order. */
function common(one: readonly string[], other: readonly string[]): number {
  let row = new Array<number>(other.length + 1).fill(0)
  for (const line of one) {
    const next = [0]
    for (const [at, theirs] of other.entries())
      next.push(line === theirs ? row[at]! + 1 : Math.max(row[at + 1]!, next[at]!))
    row = next
  }
  return row.at(-1)!
}

for (const program of programs) {
  test(`${program}: with the package it does what it did`, async (t) => {
    const printed: string[] = []
    for (const version of versionsOf(program)) {
      const args = [join(FOLDER, program, version), String(WORK[program])]
      const { status, stdout, stderr } = await run(process.execPath, args)
      t.is(stderr, '', version)
      t.is(status, 0, version)
      t.regex(stdout, new RegExp(`^${WORK[program]} .*\\d+`), version)
      printed.push(stdout)
    }
    t.is(new Set(printed).size, 1)
  })

  test(`${program}: at most ${MOST_CHANGED} lines are changed, and none counts references`, (t) => {
    if (versionsOf(program).length < 2) return void t.pass('nothing is to be gained')
    const [before, after] = [linesOf(program, 'before.js'), linesOf(program, 'after.js')]
    const same = common(before, after)
    t.true(Math.max(before.length, after.length) - same <= MOST_CHANGED, `${after.length - same} are new`)
    t.notRegex(after.join('\n'), /references|users/i)
  })
}

test('the guide has every program and its command', (t) => {
  const guide = readFileSync(join(ROOT, 'docs/recipes.md'), 'utf8')
  for (const program of programs) {
    for (const version of versionsOf(program)) {
      const command = `node examples/recipes/${program}/${version}`
      t.true(readFileSync(join(FOLDER, program, version), 'utf8').includes(`//     ${command}`), command)
    }
    t.true(guide.includes(`node examples/recipes/${program}/before.js`), program)
  }
})
