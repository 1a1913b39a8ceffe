import type { FieldLayout, Shape, StructLayout } from './shape.ts'

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
      return `${describeShape(shape.element)}[${shape.length}]`
    case 'struct':
      return shape.struct.name
  }
}

/** A table of offsets, sizes and types. */
export function tableOf(layout: StructLayout): string {
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
