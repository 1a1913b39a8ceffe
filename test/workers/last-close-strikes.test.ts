import test from 'ava'
import { reportOf, runChild } from '../support/child.ts'

interface Report {
  struck: number
  total: number
  /** Address ranges that only the library makes. */
  before: number
  after: number
}

const onLinux = process.platform === 'linux' ? test.serial : test.serial.skip

for (const [end, name] of [
  ['lives', 'closes it again'],
  ['dies', 'dies'],
] as const) {
  onLinux(`a thread is struck anywhere in a heap’s last close, and ${name}`, async (t) => {
    const { struck, total, before, after } = reportOf<Report>(await runChild('last-close', [end]))
    t.log(`${struck} strikes of ${total} points`)
    t.true(struck > 20)
    t.true(after <= before + 2, `${after} ranges, ${before} before`)
  })
}
