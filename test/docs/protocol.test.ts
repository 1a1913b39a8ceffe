import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { SCENARIOS } from '../schedules/scenarios/index.ts'
import { ROOT } from '../support/child.ts'

const text = readFileSync(join(ROOT, 'docs/protocol.md'), 'utf8')
const rows = text
  .slice(text.indexOf('| invariant | kept by | checked by |'))
  .split('\n\n')[0]!
  .split('\n')
  .slice(2)
  .map((row) => row.split('|').map((cell) => cell.trim()))

test('protocol.md names each scenario of the checker once, and no other', (t) => {
  const named = rows.flatMap(([, , , checked]) => [...checked!.matchAll(/"([^"]+)"/g)].map(([, name]) => name!))
  t.deepEqual(named.toSorted(), SCENARIOS.map(({ name }) => name).toSorted())
})

test('the files that it says keep or check an invariant are there', (t) => {
  for (const [, invariant, kept, checked] of rows) {
    t.regex(checked!, /"|test\//, invariant!)
    let folder = ''
    for (const [file] of `${kept} ${checked}`.matchAll(/[\w/-]+(\.test)?\.(ts|cc)\b/g)) {
      const path = file.includes('/') ? file : `${folder}${file}`
      folder = path.slice(0, path.lastIndexOf('/') + 1)
      t.true(existsSync(join(ROOT, path)), `${invariant}: ${path}`)
    }
  }
})
