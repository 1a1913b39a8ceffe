import test from 'ava'
import { childScript, reportOf, run } from '../support/child.ts'
import { NODE, PACKAGES } from '../support/stream-kinds.ts'

/** Of each kind. `node scripts/fuzz-streams.mjs` goes on for as long as one likes, with other seeds. */
const ROUNDS = 3
const SEED = 20_260

test.serial("whatever stream is written to and read, no byte is another's, and every promise settles", async (t) => {
  t.timeout(180_000)
  const kinds = Object.keys({ ...NODE, ...PACKAGES })
  const args = [childScript('stream-fuzz'), String(ROUNDS * kinds.length), String(SEED)]
  const counts = reportOf<Record<string, { rounds: number; whole: number }>>(await run(process.execPath, args, 170))
  t.deepEqual(
    Object.entries(counts).map(([name, { rounds }]) => [name, rounds]),
    kinds.map((name) => [name, ROUNDS])
  )
  t.true(Object.values(counts).reduce((sum, { whole }) => sum + whole, 0) > kinds.length / 2)
})
