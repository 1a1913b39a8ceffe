import test from 'ava'
import { reportOf, runChild } from '../support/child.ts'

const collections = async (loop: string) => reportOf<number>(await runChild('cursor-garbage', [loop]))

/** Processes in which a loop may show that it makes nothing: V8 may compile so late on a busy machine that one has two or three collections. */
const TRIES = 3

/** Three million objects, one for each move, bring on 23 collections, and 11 if a move makes a number, in every process. */
test('a cursor makes no objects in loops that are compiled while they run', async (t) => {
  t.true((await collections('objects')) >= 3)
  for (const loop of ['move', 'index']) {
    const found: number[] = []
    do found.push(await collections(loop))
    while (found.at(-1)! > 1 && found.length < TRIES)
    t.true(found.at(-1)! <= 1, `${loop}: ${found}`)
  }
})
