import test from 'ava'
import type { GoTables } from '../../lib/go/tables.ts'
import { TinyBlocks } from '../../lib/go/tiny.ts'

const open = () => new TinyBlocks({ tiny: new Int32Array(1000).fill(-1) } as unknown as GoTables)

test('where no block is being filled there is no room', (t) => {
  const tiny = open()
  t.is(tiny.current, 0)
  t.is(tiny.place(1), -1)
  tiny.start(10, 4)
  t.is(tiny.current, 10)
  tiny.flush()
  t.is(tiny.current, 0)
  t.is(tiny.place(1), -1)
})

test('objects follow one another, aligned as their sizes are', (t) => {
  const tiny = open()
  tiny.start(10, 1)
  t.deepEqual([tiny.place(2), tiny.place(1), tiny.place(4), tiny.place(3), tiny.place(1)], [2, 4, 8, 12, 15])
  t.is(tiny.place(1), -1)
  tiny.start(11, 3)
  t.is(tiny.place(8), 8)
  tiny.start(12, 5)
  t.is(tiny.place(12), -1, 'it would start at 8')
  t.deepEqual([tiny.place(6), tiny.place(4)], [6, 12])
})

test('the block with more room is the one that is filled on', (t) => {
  const tiny = open()
  tiny.start(10, 4)
  tiny.start(11, 8)
  t.is(tiny.current, 10, 'the new one has less')
  tiny.start(12, 4)
  t.is(tiny.current, 10)
  t.is(tiny.place(8), 8)
  tiny.start(13, 15)
  t.is(tiny.current, 13)
})

test('sizes are told by where objects start, and nothing else starts', (t) => {
  const tiny = open()
  tiny.start(10, 1)
  tiny.place(2)
  tiny.place(8)
  const sizes = Array.from({ length: 16 }, (_, byte) => tiny.sizeAt(10, byte))
  t.deepEqual(sizes, [1, 0, 2, 0, 0, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0])
  tiny.start(11, 15)
  t.is(tiny.sizeAt(11, 0), 15)
  tiny.start(12, 12)
  t.is(tiny.place(4), 12)
  t.deepEqual([tiny.sizeAt(12, 0), tiny.sizeAt(12, 12)], [12, 4])
})

test('objects of every size fill blocks, and are told apart', (t) => {
  for (let first = 1; first < 16; first++) {
    for (let second = 1; second < 16; second++) {
      const tiny = open()
      tiny.start(20, first)
      const at = tiny.place(second)
      t.is(tiny.sizeAt(20, 0), first)
      if (at >= 0) t.is(tiny.sizeAt(20, at), second, `${first} and ${second}`)
      for (let byte = 1; byte < 16; byte++) if (byte !== at) t.is(tiny.sizeAt(20, byte), 0)
    }
  }
})

test('a whole block is one object of 16 bytes', (t) => {
  const tiny = open()
  tiny.whole(30)
  t.deepEqual([tiny.sizeAt(30, 0), tiny.sizeAt(30, 8), tiny.sizeAt(30, 15)], [16, 0, 0])
  t.is(tiny.current, 0)
})
