import { NUMBERS } from './kinds.ts'
import type { FieldLayout, Shape, StructLayout } from './shape.ts'

/** Keywords of C from C89 to C23 and of C++ to C++23, whose headers may include this one, and the extra ones of gcc in GNU mode. */
const KEYWORDS =
  'alignas alignof and and_eq asm auto bitand bitor bool break case catch char char8_t char16_t char32_t class co_await co_return ' +
  'co_yield compl concept const const_cast consteval constexpr constinit continue decltype default delete do double ' +
  'dynamic_cast else enum explicit export extern false float for friend goto if inline int long mutable namespace new noexcept ' +
  'not not_eq nullptr operator or or_eq private protected public register reinterpret_cast requires restrict return short ' +
  'signed sizeof static static_assert static_cast struct switch template this thread_local throw true try typedef typeid ' +
  'typename typeof typeof_unqual union unsigned using virtual void volatile wchar_t while xor xor_eq'

/** Macros that compilers define without a leading underscore, for systems and processors. */
const PREDEFINED = 'linux unix i386 arm mips sparc sun vax m68k hppa PPC WIN32 WIN64 WINNT'

/** The names that the header's own includes define (and `errno`), except integer types and their limits. */
const DEFINED =
  'NULL offsetof unreachable assert errno std size_t ptrdiff_t max_align_t nullptr_t rsize_t intptr_t uintptr_t intmax_t uintmax_t'

const WORDS = new Set(`${KEYWORDS} ${PREDEFINED} ${DEFINED}`.split(' '))
const INTEGERS = /^u?int(_least|_fast)?[0-9]+_t$/
const LIMITS =
  /^(U?INT(_LEAST|_FAST)?[0-9]+|U?INTPTR|U?INTMAX|PTRDIFF|SIZE|RSIZE|WCHAR|WINT|SIG_ATOMIC)_(MIN|MAX|WIDTH|C)$/

/** A longer part of a name is useless in a message, and a compiler may refuse a string that is too long. */
const MOST_TOLD = 200

/** The header of a struct: the structs that it contains come first. C11 and later can include it, and C++11 and later. */
export function headerOf(layout: StructLayout): string {
  const names = new Map<StructLayout, string>()
  const parts: string[] = []
  declare(layout, names, parts)
  const headers = ['assert', 'stdalign', 'stdbool', 'stddef', 'stdint'].map((name) => `#include <${name}.h>`)
  return [...headers, '', ...parts, ''].join('\n')
}

function declare(layout: StructLayout, names: Map<StructLayout, string>, parts: string[]): string {
  const known = names.get(layout)
  if (known !== undefined) return known
  const name = nameInC(identifierOf(layout.name), new Set(names.values()))
  names.set(layout, name)
  const fields = fieldNames(layout)
  const members = layout.fields.map((field) => {
    return `  ${member(field, fields.get(field.name)!, (inner) => declare(inner, names, parts))}`
  })
  const packed = layout.packed ? ' __attribute__((packed))' : ''
  const offsets = layout.fields.filter(({ bits }) => bits === undefined)
  parts.push(
    `typedef struct${packed} ${name} {\n${members.join('\n')}\n} ${name};`,
    check(`sizeof(${name}) == ${layout.size} && alignof(${name}) == ${layout.alignment}`, name),
    ...offsets.map((field) => {
      const inC = fields.get(field.name)!
      return check(`offsetof(${name}, ${inC}) == ${field.offset}`, `${name}.${inC}`)
    }),
    ''
  )
  return name
}

function check(condition: string, what: string): string {
  return `static_assert(${condition}, "${what.slice(0, MOST_TOLD)}");`
}

/** An identifier for a struct, which may have any name. At file scope, those that begin with an underscore are the compiler's. */
function identifierOf(name: string): string {
  const letters = name.replace(/[^A-Za-z0-9_]/g, '_').replace(/^_+/, '')
  return /^[A-Za-z]/.test(letters) ? letters : `Record${letters}`
}

/** The name in C of each field: its own if C allows it. */
function fieldNames({ fields }: StructLayout): Map<string, string> {
  const names = new Map(fields.filter(({ name }) => !isReserved(name)).map(({ name }) => [name, name]))
  const used = new Set(names.values())
  for (const { name } of fields) {
    if (names.has(name)) continue
    const inC = nameInC(name, used)
    names.set(name, inC)
    used.add(inC)
  }
  return names
}

/** A name that compilers accept, and that isn't used yet. */
function nameInC(name: string, used: ReadonlySet<string>): string {
  let base = name
  if (isReserved(base)) base = base.replace(/^_+(?=[A-Za-z])/, '').replace(/^_/, 'x_')
  if (isReserved(base)) base = `${base}_`
  let inC = base
  for (let i = 2; used.has(inC); i++) inC = `${base}_${i}`
  return inC
}

/** Whether a name is a word of C, or the compiler's own: these begin with two underscores, or with one and a capital letter. */
function isReserved(name: string): boolean {
  return WORDS.has(name) || /^_[_A-Z]/.test(name) || INTEGERS.test(name) || LIMITS.test(name)
}

function member({ shape }: FieldLayout, name: string, structName: (layout: StructLayout) => string): string {
  let dimensions = ''
  let inner = shape
  while (inner.is === 'array') {
    dimensions += `[${inner.length}]`
    inner = inner.element
  }
  const own = inner.is === 'bytes' || inner.is === 'text' ? `[${inner.length}]` : ''
  const bits = inner.is === 'bits' ? ` : ${inner.width}` : ''
  // With the word `struct` a field may have its type's name, in C++ too.
  const type = inner.is === 'struct' ? `struct ${structName(inner.struct.layout())}` : typeInC(inner)
  return `${type} ${name}${dimensions}${own}${bits};${remark(inner)}`
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
    const names = [...shape.names].map(([name, value]) => `${name.replace(/[^\w -]/g, '_')} = ${value}`)
    remarks.push(names.join(', '))
  }
  if ('endian' in shape && shape.endian !== undefined) remarks.push(`${shape.endian}-endian`)
  return remarks.length === 0 ? '' : ` /* ${remarks.join('; ')} */`
}
