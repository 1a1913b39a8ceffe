import test from 'ava'
import { expectedOutcome, KINDS, outcomeOf } from './api.ts'
import { GROUPS } from './list.ts'

const major = Number.parseInt(process.versions.node, 10)

for (const { title, apis } of GROUPS) {
  for (const api of apis) {
    for (const kind of KINDS) {
      const wanted = expectedOutcome(api, kind, major)
      test.serial(`${title}: ${api.name}, ${kind} memory: ${wanted}`, async (t) => {
        const { outcome, error } = await outcomeOf(api, kind)
        t.is(outcome, wanted, error?.stack)
      })
    }
  }
}
