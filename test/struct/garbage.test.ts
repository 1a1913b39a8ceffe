import test from 'ava'
import { reportOf, runChild } from '../support/child.ts'

const collections = async (loop: string) => reportOf<number>(await runChild('cursor', [loop]))

// An object of 16 bytes for each of three million moves would bring on three or more collections, whatever the young space's size.
test('a cursor makes no objects in loops that are compiled while they run', async (t) => {
  t.true((await collections('objects')) >= 3)
  t.true((await collections('move')) <= 1)
  t.true((await collections('index')) <= 1)
})
