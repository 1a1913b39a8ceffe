import test from 'ava'
import { reportOf, runChild } from '../support/child.ts'

const collections = async (loop: string) => reportOf<number>(await runChild('cursor', [loop]))

/**
 * Three million objects, one for each move, bring on 23 collections, and 11 if a move makes a number. On a busy machine V8 may compile so
 * late that there are two or three without any fault.
 */
test('a cursor makes no objects in loops that are compiled while they run', async (t) => {
  const objects = await collections('objects')
  t.true(objects >= 3, `objects: ${objects}`)
  for (const loop of ['move', 'index']) {
    const found = await collections(loop)
    t.true(found <= objects / 4, `${loop}: ${found} of ${objects}`)
  }
})
