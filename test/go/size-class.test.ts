import { readFileSync } from 'node:fs'
import test from 'ava'
import {
  GoSizeClasses,
  GoSmall,
  generateSizeClasses,
  noscanOf,
  SpanClass,
  sizeClassOf,
  spanClassOf,
} from '../../lib/go/size-class.ts'

/** Go's published table (1.19.8), with the objects of later versions' spans. */
const [HEADINGS, LARGE, ...ROWS] = readFileSync(new URL('../../../test/go/size-classes.csv', import.meta.url), 'utf8')
  .trim()
  .split('\n')

test('the rule gives the published table of 67, in every column', (t) => {
  t.is(
    HEADINGS,
    'class,object_bytes,span_bytes,span_pages,objects_per_span,tail_waste_bytes,max_waste_percent,min_align,' +
      'div_magic_u32,scan_objects_go1_22,noscan_objects_greentea,scan_objects_greentea'
  )
  const rows = generateSizeClasses().map((row) =>
    [
      row.sizeClass,
      row.size,
      row.spanBytes,
      row.pages,
      row.objects,
      row.tailWaste,
      row.maxWaste,
      row.minAlign,
      row.divMagic,
      row.scanObjects,
      row.noscanObjectsGreenTea,
      row.scanObjectsGreenTea,
    ].join()
  )
  t.deepEqual(rows, ROWS)
  t.is(rows.length, GoSmall.Classes)
})

test('the columns are the table by class number, and class 0 is empty', (t) => {
  const columns = new GoSizeClasses()
  t.is(LARGE, '0,0,0,0,0,0,,,0,,,')
  for (const column of [columns.size, columns.size8, columns.pages, columns.objects, columns.magic, columns.shift]) {
    t.is(column.length, columns.count)
    t.is(column[0], 0)
  }
  for (const { sizeClass, size, pages, objects } of generateSizeClasses()) {
    t.is(columns.size[sizeClass], size)
    t.is(columns.size8[sizeClass]! * 8, size)
    t.is(columns.pages[sizeClass], pages)
    t.is(columns.objects[sizeClass], objects)
    t.true(pages <= GoSmall.MostPages)
  }
  t.is(columns.size[columns.count - 1], GoSmall.MostBytes)
})

test('a multiplication finds the slot of every offset of every class', (t) => {
  const { count, size8, pages, magic, shift } = new GoSizeClasses()
  for (let sizeClass = 1; sizeClass < count; sizeClass++) {
    const units = pages[sizeClass]! * 1024
    let wrong = 0
    for (let offset8 = 0; offset8 <= units; offset8++) {
      const slot = Math.imul(offset8, magic[sizeClass]!) >>> shift[sizeClass]!
      if (slot !== Math.floor(offset8 / size8[sizeClass]!)) wrong++
    }
    t.is(wrong, 0, `${size8[sizeClass]! * 8}`)
    t.true(units * magic[sizeClass]! < 2 ** 31)
  }
})

test("Go's own multiplication finds the slot of every offset too", (t) => {
  for (const { size, spanBytes, divMagic } of generateSizeClasses()) {
    let wrong = 0
    for (let offset = 0; offset <= spanBytes; offset++) {
      if (Math.floor((offset * divMagic) / 2 ** 32) !== Math.floor(offset / size)) wrong++
    }
    t.is(wrong, 0, `${size}`)
  }
})

test('every size gets the smallest class that fits, and with an alignment of 16 the smallest aligned one', (t) => {
  const classes = new GoSizeClasses()
  const by8 = classes.classBySize8()
  const by16 = classes.classBySize16()
  t.is(by8.length, 4097)
  t.is(by16.length, 2049)
  const sizes = [...classes.size.subarray(1)]
  const aligned = sizes.filter((size) => size % 16 === 0)
  t.deepEqual(
    sizes.filter((size) => !aligned.includes(size)),
    [8, 24]
  )
  for (let size = 0; size <= GoSmall.MostBytes; size++) {
    const fitting = sizes.find((candidate) => candidate >= size)
    if (classes.size[by8[Math.ceil(size / 8)]!] !== fitting) t.fail(`${size}`)
    const fittingAligned = aligned.find((candidate) => candidate >= size)
    if (classes.size[by16[Math.ceil(size / 16)]!] !== fittingAligned) t.fail(`${size}, aligned`)
  }
  t.is(by8[0], 1)
  t.is(classes.size[by16[0]!], 16)
})

test('no class from 128 bytes up loses more than a sixth', (t) => {
  for (const { size, maxWaste, tailWaste, spanBytes } of generateSizeClasses()) {
    t.true(tailWaste <= spanBytes / 8, `${size}`)
    if (size >= 128) t.true(Number(maxWaste) <= 16.65, `${size}`)
  }
})

test('there are two span classes for every size class, and those of large objects come first', (t) => {
  const ids = new Set<number>()
  for (let sizeClass = 0; sizeClass <= GoSmall.Classes; sizeClass++) {
    for (const noscan of [0, 1]) {
      const spanClass = spanClassOf(sizeClass, noscan)
      ids.add(spanClass)
      t.is(spanClass, sizeClass * 2 + noscan)
      t.is(sizeClassOf(spanClass), sizeClass)
      t.is(noscanOf(spanClass), noscan)
    }
  }
  t.is(ids.size, SpanClass.Slots)
  t.is(ids.size - 2, SpanClass.Small)
  t.is(spanClassOf(0, 0), SpanClass.LargeScan)
  t.is(spanClassOf(0, 1), SpanClass.LargeNoscan)
  t.is(spanClassOf(2, 1), SpanClass.Tiny)
})
