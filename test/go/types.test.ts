import test from 'ava'
import { GoSizeClasses } from '../../lib/go/size-class.ts'
import { TypeEntry, Types, TypeWord } from '../../lib/go/types.ts'

const classes = new GoSizeClasses()

function describe(size: number, pointers: number[]) {
  const types = new Types(classes.classBySize8())
  const type = types.define({ size, pointers })
  const word = (which: TypeWord) => types.words[(type << TypeEntry.Shift) + which]!
  return {
    stride: word(TypeWord.Stride),
    mask: word(TypeWord.Mask),
    spanClass: word(TypeWord.SpanClass),
    noscan: word(TypeWord.Noscan),
    units: [...types.pointersOf(type)],
  }
}

const classFor = (size: number) => classes.size.findIndex((candidate, i) => i > 0 && candidate >= size)

test('objects with pointers are multiples of 8 apart, others as long as they are', (t) => {
  t.is(describe(20, [8]).stride, 24)
  t.is(describe(24, [16]).stride, 24)
  t.is(describe(20, []).stride, 20)
  t.is(describe(0, []).stride, 0)
})

test('pointers are kept in order, in units of 8 bytes, and the first 32 as bits', (t) => {
  const { units, mask } = describe(400, [248, 0, 392, 256, 16])
  t.deepEqual(units, [0, 2, 31, 32, 49])
  t.is(mask, 1 | (1 << 2) | (1 << 31) | 0)
})

test('the span class is that of the smallest class which holds the object, with or without pointers', (t) => {
  for (const size of [8, 9, 16, 17, 24, 25, 100, 1024, 1025, 32_768]) {
    t.is(describe(size, [0]).spanClass, 2 * classFor(Math.ceil(size / 8) * 8), `${size}`)
    if (size >= 16) t.is(describe(size, []).spanClass, 2 * classFor(size) + 1, `${size}`)
  }
})

test('tiny and large objects have no span class', (t) => {
  for (const size of [0, 1, 8, 15, 32_769, 2 ** 20]) t.is(describe(size, []).spanClass, 0, `${size}`)
  for (const size of [32_761, 32_769]) t.is(describe(size, [0]).spanClass, size > 32_768 ? 0 : 134, `${size}`)
  t.is(describe(16, []).spanClass, 5, 'objects of 16 bytes share the class of tiny blocks')
})

test('types are numbered from 1 on, and only they are types', (t) => {
  const types = new Types(classes.classBySize8())
  for (let i = 1; i <= 500; i++) t.is(types.define({ size: i, pointers: [] }), i)
  for (let i = 1; i <= 500; i++) t.is(types.words[(i << TypeEntry.Shift) + TypeWord.Stride], i)
  for (const wrong of [0, -1, 501, 1.5, Number.NaN, '1', null, undefined]) t.false(types.has(wrong), String(wrong))
  t.true(types.has(1) && types.has(500))
})

test('what isn’t a layout changes nothing', (t) => {
  const types = new Types(classes.classBySize8())
  for (const layout of [
    { size: -1, pointers: [] },
    { size: 16, pointers: [4] },
    { size: 16, pointers: [16] },
    { size: 16, pointers: [0, 0] },
  ]) {
    t.throws(() => types.define(layout), { code: 'ERR_OUT_OF_RANGE' })
  }
  t.is(types.define({ size: 16, pointers: [0] }), 1)
})
