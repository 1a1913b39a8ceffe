// One round of a fuzzer: `TARGET SEED CASES FILE`. Before each case, FILE says which: should the process die, it was that one.
import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs'
import { TARGETS } from '../fuzz/targets.ts'

const [target, seed, cases, file] = process.argv.slice(2)
const open = openSync(file!, 'w')
TARGETS[target!]!(Number(seed), Number(cases), (text) => {
  const line = Buffer.from(`${text}\n`)
  writeSync(open, line, 0, line.length, 0)
  ftruncateSync(open, line.length)
})
closeSync(open)
