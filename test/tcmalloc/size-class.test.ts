import test from 'ava'
import { generateSizeClasses, SizeClassTable } from '../../lib/tcmalloc/size-class.ts'

/** TCMalloc's published table (gperftools, 8 KiB pages): sizes, pages of a span, objects moved at a time. */
const SIZES = [
  8, 16, 32, 48, 64, 80, 96, 112, 128, 144, 160, 176, 192, 208, 224, 240, 256, 288, 320, 352, 384, 416, 448, 480, 512,
  576, 640, 704, 768, 896, 1024, 1152, 1280, 1408, 1536, 1792, 2048, 2304, 2560, 2816, 3072, 3328, 4096, 4608, 5120,
  6144, 6656, 8192, 9216, 10240, 12288, 13312, 16384, 20480, 24576, 26624, 32768, 40960, 49152, 57344, 65536, 73728,
  81920, 90112, 98304, 106496, 114688, 122880, 131072, 139264, 147456, 155648, 163840, 172032, 180224, 188416, 196608,
  204800, 212992, 221184, 229376, 237568, 245760, 253952, 262144,
]
const PAGES_FROM_1152 = [2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 3, 2, 3, 2, 3, 5, 2, 5, 4, 3, 5, 2, 5, 3, 7, 4]
const BATCHES_FROM_2304 = [28, 25, 23, 21, 19, 16, 14, 12, 10, 9, 8, 7, 6, 5, 4, 4, 3]

test('the rule gives the published table of 85', (t) => {
  const classes = generateSizeClasses()
  t.deepEqual(
    classes.map(({ size }) => size),
    SIZES
  )
  const pages = SIZES.map((size, i) => {
    if (size <= 1024) return 1
    return size <= 32768 ? PAGES_FROM_1152[i - SIZES.indexOf(1152)]! : size / 8192
  })
  t.deepEqual(
    classes.map((sizeClass) => sizeClass.pages),
    pages
  )
  const batches = SIZES.map((size, i) => (size <= 2048 ? 32 : (BATCHES_FROM_2304[i - SIZES.indexOf(2304)] ?? 2)))
  t.deepEqual(
    classes.map(({ batch }) => batch),
    batches
  )
})

for (const leastPages of [1, 2, 8]) {
  test(`with spans of at least ${leastPages} pages every size gets the smallest class that fits`, (t) => {
    const table = new SizeClassTable(leastPages)
    const bySize = table.classBySize()
    t.is(bySize[0], 1)
    for (let size = 0; size <= 262_144; size++) {
      const sizeClass = bySize[Math.ceil(size / 16)]!
      if (table.size[sizeClass]! < size || (sizeClass > 1 && table.size[sizeClass - 1]! >= size)) t.fail(`${size}`)
    }
    t.is(table.size[table.count - 1], 262_144)
    t.is(table.size[1], 16, 'the class of 8 bytes is left out, and no other')
    t.is(bySize.length, 262_144 / 16 + 1)
  })

  test(`with spans of at least ${leastPages} pages little is lost`, (t) => {
    const table = new SizeClassTable(leastPages)
    for (let sizeClass = 1; sizeClass < table.count; sizeClass++) {
      const span = table.pages[sizeClass]! * 8192
      t.is(table.size[sizeClass]! % 16, 0)
      t.is(table.stride[sizeClass]! * 16, table.size[sizeClass])
      t.is(table.pages[sizeClass]! % leastPages, 0)
      t.is(table.objects[sizeClass]! * table.size[sizeClass]! + table.tailBytes(sizeClass), span)
      t.true(table.tailBytes(sizeClass) <= span / 8, `${table.size[sizeClass]}`)
      t.true(table.batch[sizeClass]! >= 2 && table.batch[sizeClass]! <= 32)
    }
  })
}

test('every power of two up to a page divides the class that serves its multiples', (t) => {
  const table = new SizeClassTable()
  const bySize = table.classBySize()
  for (let alignment = 16; alignment <= 8192; alignment *= 2) t.is(table.size[bySize[alignment / 16]!]! % alignment, 0)
})
