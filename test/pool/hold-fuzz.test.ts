import test from 'ava'
import { childScript, reportOf, run } from '../support/child.ts'

/** A long run by hand sets more. */
const ROUNDS = Number(process.env.SPANHEAP_HOLD_ROUNDS ?? 150)
const SEED = Number(process.env.SPANHEAP_HOLD_SEED ?? 1)

test.serial("whatever is taken away from an operation, its buffer is nobody else's", async (t) => {
  t.timeout(60_000 + ROUNDS * 1000)
  const args = [childScript('hold-fuzz'), String(ROUNDS), String(SEED)]
  const counts = reportOf<Record<string, number>>(await run(process.execPath, args, 60 + ROUNDS))
  t.is(
    Object.values(counts).reduce((sum, count) => sum + count, 0),
    ROUNDS
  )
  t.log(`${ROUNDS} rounds of ${Object.keys(counts).length} kinds`)
})
