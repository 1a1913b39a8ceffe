// Draws docs/structs/*.svg, from the layouts that the structs of docs/structs.md have. Build first.
//
//     node scripts/struct-pictures.mjs          writes the files
//     node scripts/struct-pictures.mjs --check  says which are not up to date, with status 1
import { readFileSync, writeFileSync } from 'node:fs'
import { array, bits, f64, i32, pointer, struct, text, u8, u32, u64 } from '../dist/lib/struct/index.js'

const fields = { side: u8, price: f64, qty: i32 }
const Point = struct({ x: i32, y: i32 }, { name: 'Point' })
const PICTURES = {
  layout: ['A struct with padding', [struct(fields, { name: 'Order' })]],
  packed: ['The same struct, packed', [struct(fields, { name: 'Order', packed: true })]],
  nested: [
    'A struct and an array in a struct',
    [struct({ from: Point, scores: array(i32, 3), name: text(4) }, { name: 'Line' })],
  ],
  bits: [
    'Bit fields share bytes',
    [struct({ kind: bits(u32, 3), level: bits(u32, 7), wide: bits(u32, 25) }, { name: 'Flags' })],
  ],
  pointer: ['A pointer is an address in 8 bytes', [struct({ id: u64, next: pointer('Node') }, { name: 'Node' })]],
  array: ['Three records of an array', Array(3).fill(struct({ price: f64, qty: i32 }, { name: 'Trade' }))],
}

const STYLE = `  <style>
    .paper { fill: #ffffff }
    text { font: 13px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328 }
    .small { font-size: 12px; fill: #59636e }
    .head { font-weight: 600 }
    .middle { text-anchor: middle }
    .free { fill: #ffffff; stroke: #afb8c1; stroke-dasharray: 4 3 }
    .blue { fill: #ddf4ff; stroke: #0969da }
    @media (prefers-color-scheme: dark) {
      .paper { fill: #0d1117 }
      text { fill: #e6edf3 }
      .small { fill: #9198a1 }
      .free { fill: #0d1117; stroke: #656c76 }
      .blue { fill: #11233d; stroke: #4493f8 }
    }
  </style>`

/** A line for each 8 bytes: a box for each field, or the part of it that is in the line, and for the padding. */
function draw(title, structs) {
  const pieces = structs.flatMap((type, index) => {
    const { fields, padding, size } = type.layout()
    const base = index * size
    const of = structs.length > 1 ? `[${index}].` : ''
    return [
      ...fields.map(({ name, offset, size, bits }) => ({
        label: of + name,
        from: (base + offset) * 8 + (bits?.first ?? 0),
        length: bits?.width ?? size * 8,
        kind: 'blue',
      })),
      ...padding.map(({ offset, size }) => ({ label: '', from: (base + offset) * 8, length: size * 8, kind: 'free' })),
    ]
  })
  const bytes = structs[0].layout().size * structs.length
  const lines = Math.ceil(bytes / 8)
  const height = 64 + lines * 44
  const boxes = pieces.flatMap(({ label, from, length, kind }) => {
    const parts = []
    for (let at = from; at < from + length; ) {
      const end = Math.min(from + length, (Math.floor(at / 64) + 1) * 64)
      const [x, y, width] = [70 + (at % 64) * 10, 46 + Math.floor(at / 64) * 44, (end - at) * 10]
      parts.push(`  <rect class="${kind}" x="${x}" y="${y}" width="${width}" height="34" rx="4"/>`)
      if (label !== '') parts.push(`  <text class="middle" x="${x + width / 2}" y="${y + 21}">${label}</text>`)
      at = end
    }
    return parts
  })
  const offsets = Array.from(
    { length: lines },
    (_, i) => `  <text class="small" x="20" y="${67 + i * 44}">${i * 8}</text>`
  )
  const { name } = structs[0]
  const what = structs.length > 1 ? `${structs.length} records of ${name}, ${bytes} bytes` : `${name}, ${bytes} bytes`
  const described = structs[0].layout().fields.map(({ name, offset, size }) => `${name} at ${offset}, ${size} bytes`)
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 730 ${height}" width="730" height="${height}" role="img" aria-labelledby="title desc">`,
    `  <title id="title">${title}</title>`,
    `  <desc id="desc">${what}: ${described.join('; ')}. A line for each 8 bytes; dashed boxes are padding.</desc>`,
    STYLE,
    `  <rect class="paper" width="730" height="${height}"/>`,
    `  <text class="head" x="20" y="28">${what}</text>`,
    ...offsets,
    ...boxes,
    '</svg>',
    '',
  ].join('\n')
}

let stale = 0
for (const [name, [title, structs]] of Object.entries(PICTURES)) {
  const file = new URL(`../docs/structs/${name}.svg`, import.meta.url)
  const picture = draw(title, structs)
  if (!process.argv.includes('--check')) writeFileSync(file, picture)
  else if (readFileSync(file, 'utf8') !== picture) {
    console.error(`docs/structs/${name}.svg is not up to date: run node scripts/struct-pictures.mjs`)
    stale++
  }
}
process.exitCode = stale > 0 ? 1 : 0
