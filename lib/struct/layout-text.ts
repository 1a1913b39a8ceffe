import { NUMBERS } from './kinds.ts'
import type { FieldLayout, Layout } from './layout.ts'
import type { Shape } from './types.ts'

/** A type in a few words. */
export function describeShape(shape: Shape): string {
  const order = 'endian' in shape && shape.endian !== undefined ? ` ${shape.endian}-endian` : ''
  switch (shape.is) {
    case 'number':
      return (shape.safe ? `safe ${shape.kind}` : shape.kind) + order
    case 'bool':
      return 'bool'
    case 'bytes':
    case 'text':
      return `${shape.is}(${shape.length})`
    case 'pointer':
      return `pointer${typeof shape.target === 'string' ? ` to ${shape.target}` : ''}${order}`
    case 'enumeration':
      return `enumeration ${shape.kind}${order}`
    case 'bits':
      return `${shape.kind} : ${shape.width}`
    case 'array':
      return `${describeShape(shape.element.shape)}[${shape.length}]`
    case 'struct':
      return shape.struct.name
  }
}

/** A table of offsets, sizes and types. */
export function tableOf(layout: Layout): string {
  const rows = [
    ...layout.fields.map((field) => ({ at: field.offset, cells: [place(field), extent(field), describe(field)] })),
    ...layout.padding.map(({ offset, size }) => ({ at: offset, cells: [String(offset), String(size), '(padding)'] })),
  ].sort((a, b) => a.at - b.at)
  const cells = [['offset', 'size', 'field'], ...rows.map((row) => row.cells)]
  const widths = [0, 1].map((column) => Math.max(...cells.map((row) => row[column]!.length)))
  const lines = cells.map(([at, size, name]) => `${at!.padStart(widths[0]!)}  ${size!.padStart(widths[1]!)}  ${name}`)
  const head = `${layout.name}: ${layout.size} bytes, aligned to ${layout.alignment}${layout.packed ? ', packed' : ''}`
  return [head, ...lines].join('\n')
}

function place({ offset, bits }: FieldLayout): string {
  return bits === undefined ? String(offset) : `${offset}.${bits.first}`
}

function extent({ size, bits }: FieldLayout): string {
  return bits === undefined ? String(size) : `0.${bits.width}`
}

function describe({ name, shape }: FieldLayout): string {
  return `${name}: ${describeShape(shape)}`
}

/** Words of C that a field can't be called. */
const WORDS = new Set(
  (
    'auto break case char const continue default do double else enum extern float for goto if inline int long register ' +
    'restrict return short signed sizeof static struct switch typedef union unsigned void volatile while'
  ).split(' ')
)

/** The header of a struct: those that it contains come first. */
export function headerOf(layout: Layout): string {
  const names = new Map<Layout, string>()
  const parts: string[] = []
  declare(layout, names, parts)
  return ['#include <stdbool.h>', '#include <stddef.h>', '#include <stdint.h>', '', ...parts, ''].join('\n')
}

function declare(layout: Layout, names: Map<Layout, string>, parts: string[]): string {
  const known = names.get(layout)
  if (known !== undefined) return known
  const used = new Set(names.values())
  const wanted = nameInC(layout.name.replace(/[^A-Za-z0-9_]/g, '_').replace(/^(?=[0-9])/, '_') || 'Record')
  let name = wanted
  for (let i = 2; used.has(name); i++) name = `${wanted}_${i}`
  names.set(layout, name)
  const members = layout.fields.map((field) => `  ${member(field, (inner) => declare(inner, names, parts))}`)
  const packed = layout.packed ? ' __attribute__((packed))' : ''
  const offsets = layout.fields.filter(({ bits }) => bits === undefined)
  parts.push(
    `typedef struct${packed} ${name} {\n${members.join('\n')}\n} ${name};`,
    `_Static_assert(sizeof(${name}) == ${layout.size} && _Alignof(${name}) == ${layout.alignment}, "${name}");`,
    ...offsets.map((field) => {
      const path = `${name}, ${nameInC(field.name)}`
      return `_Static_assert(offsetof(${path}) == ${field.offset}, "${name}.${field.name}");`
    }),
    ''
  )
  return name
}

function member({ name, shape }: FieldLayout, structName: (layout: Layout) => string): string {
  let dimensions = ''
  let inner = shape
  while (inner.is === 'array') {
    dimensions += `[${inner.length}]`
    inner = inner.element.shape
  }
  const own = inner.is === 'bytes' || inner.is === 'text' ? `[${inner.length}]` : ''
  const bits = inner.is === 'bits' ? ` : ${inner.width}` : ''
  const type = inner.is === 'struct' ? structName(inner.struct.layout()) : typeInC(inner)
  return `${type} ${nameInC(name)}${dimensions}${own}${bits};${remark(inner)}`
}

function nameInC(name: string): string {
  return WORDS.has(name) ? `${name}_` : name
}

function typeInC(shape: Exclude<Shape, { is: 'array' | 'struct' }>): string {
  switch (shape.is) {
    case 'bool':
      return 'bool'
    case 'bytes':
      return 'uint8_t'
    case 'text':
      return 'char'
    case 'pointer':
      return 'uint64_t'
    default:
      return NUMBERS[shape.kind].c
  }
}

function remark(shape: Shape): string {
  const remarks: string[] = []
  if (shape.is === 'pointer') remarks.push('an address of the heap, 0 for none')
  if (shape.is === 'enumeration') {
    const names = [...shape.names].map(([name, value]) => `${name.replace(/[^\w -]/g, '?')} = ${value}`)
    remarks.push(names.join(', '))
  }
  if ('endian' in shape && shape.endian !== undefined) remarks.push(`${shape.endian}-endian`)
  return remarks.length === 0 ? '' : ` /* ${remarks.join('; ')} */`
}
