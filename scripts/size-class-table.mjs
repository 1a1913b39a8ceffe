// Prints the table of size classes in docs/size-classes.md, from the code that makes them. Build first.
//
//     node scripts/size-class-table.mjs
import { generateSizeClasses } from '../dist/lib/tcmalloc/size-class.js'

const PAGE_BYTES = 8192

const percent = (part, whole) => `${((100 * part) / whole).toFixed(1)} %`

const rows = generateSizeClasses().map(({ size, pages, objects, batch }, index, classes) => {
  const spanBytes = pages * PAGE_BYTES
  const smallest = index === 0 ? 1 : classes[index - 1].size + 1
  return [
    index + 1,
    size,
    pages,
    objects,
    batch,
    percent(spanBytes - objects * size, spanBytes),
    percent(size - smallest, size),
  ]
})

const head = ['class', 'bytes', 'pages', 'objects per span', 'batch', 'tail waste', 'rounding waste, at most']
const line = (cells) => `| ${cells.join(' | ')} |`
console.log([head, head.map(() => '---:'), ...rows].map(line).join('\n'))
