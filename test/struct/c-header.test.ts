import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { bits, type Fields, type FieldType, type Layout, struct, text, u8, u32 } from '../../lib/struct/index.ts'
import { compile } from '../support/gcc.ts'
import { Order } from '../support/order.ts'
import { Random } from '../support/random.ts'

/** The ways in which a header must compile, without a warning. */
const LANGUAGES: [compiler: string, language: string, standard: string][] = [
  ...['c11', 'gnu11', 'gnu2x'].map((standard): [string, string, string] => ['gcc', 'c', standard]),
  ...['c++11', 'gnu++20'].map((standard): [string, string, string] => ['g++', 'c++', standard]),
]

const WARNINGS = ['-Wall', '-Wextra', '-pedantic', '-Werror']

/** Words of C from C89 to C23, of C++ to C++23, and of gcc. */
const WORDS =
  'auto break case char const continue default do double else enum extern float for goto if int long register return short signed ' +
  'sizeof static struct switch typedef union unsigned void volatile while inline restrict _Bool _Complex _Imaginary ' +
  '_Alignas _Alignof _Atomic _Generic _Noreturn _Static_assert _Thread_local alignas alignof bool constexpr false ' +
  'nullptr static_assert thread_local true typeof typeof_unqual _BitInt _Decimal128 _Decimal32 _Decimal64 and and_eq ' +
  'asm bitand bitor catch char16_t char32_t char8_t class co_await co_return co_yield compl concept consteval constinit ' +
  'const_cast decltype delete dynamic_cast explicit export friend mutable namespace new noexcept not not_eq operator or ' +
  'or_eq private protected public reinterpret_cast requires static_cast template this throw try typeid typename using ' +
  'virtual wchar_t xor xor_eq final override import module __asm__ __attribute__ __typeof__ __int128 __label__ __thread ' +
  '_Float128 std main errno fortran'

/** Names that nobody should have to know: the compiler's words, its macros, and all that the headers declare. */
async function namesToAvoid(): Promise<Set<string>> {
  const names = new Set(WORDS.split(' '))
  const header = ['stdbool', 'stddef', 'stdint', 'stdalign', 'assert'].map((name) => `#include <${name}.h>`).join('\n')
  const folder = mkdtempSync(join(tmpdir(), 'spanheap-'))
  try {
    const source = join(folder, 'names.h')
    writeFileSync(source, `${header}\n`)
    for (const [compiler, language, standard] of LANGUAGES) {
      const preprocess = [`-std=${standard}`, '-x', language, '-E', source]
      const macros = (await compile([...preprocess, '-dM'], compiler)).stdout
      for (const [, name] of macros.matchAll(/^#define (\w+)/gm)) names.add(name!)
      const declared = (await compile([...preprocess, '-P'], compiler)).stdout
      for (const [name] of declared.matchAll(/\b[A-Za-z_]\w*/g)) names.add(name)
    }
  } finally {
    rmSync(folder, { recursive: true })
  }
  return names
}

/** A struct of such names, and of names that others may be changed to; each of its fields is a struct that has such a name too. */
function structOf(names: readonly string[], random: Random): Layout {
  const types: FieldType[] = [u8, u32, bits(u8, 3), text(3)]
  const field = (name: string): FieldType => {
    const fields = [name, random.pick(names), `${name}_`, 'plain'].filter(isField)
    const type = () => random.pick(types)
    return struct(Object.fromEntries(fields.map((field) => [field, type()])) as Fields, {
      name,
    }) as unknown as FieldType
  }
  return struct(Object.fromEntries(names.filter(isField).map((name) => [name, field(name)])) as Fields, {
    name: random.pick(names),
  }).layout()
}

function isField(name: string): boolean {
  try {
    struct({ [name]: u8 })
    return true
  } catch {
    return false
  }
}

test('a header compiles, whatever the names of structs and fields, as C and as C++', async (t) => {
  const avoided = await namesToAvoid()
  t.true(avoided.size > 400 && avoided.has('linux') && avoided.has('INT_FAST16_MAX') && avoided.has('max_align_t'))
  const random = new Random(1)
  const names = [
    ...avoided,
    '_',
    '__',
    '___',
    '_1',
    '__1',
    '_a',
    '_A',
    '__x',
    'x',
    'x_',
    '_x',
    'Record',
    'Record_2',
    'Struct',
  ]
  for (const name of [...names]) names.push(`${name}_`, `${name}_2`, `_${name}`)
  const long = 'x'.repeat(5000)
  names.push(long, `${long}y`, `__${long}`)
  const layouts = [structOf([...new Set(names)], random)]
  // Names that only a struct can have, each twice.
  const others = [
    '',
    ' ',
    'a b',
    '1',
    '_',
    '名前',
    'é',
    '"',
    '\\',
    '*/',
    '\n#error',
    '??/',
    'a\u0000b',
    '💾'.repeat(1000),
  ]
  const inner = [...others, ...others].map((name, i): [string, FieldType] => {
    return [`f${i}`, struct({ [isField(name) ? name : 'x']: u8 }, { name }) as unknown as FieldType]
  })
  layouts.push(struct(Object.fromEntries(inner) as Fields, { name: '*/ "' }).layout())
  const folder = mkdtempSync(join(tmpdir(), 'spanheap-'))
  try {
    for (const [i, layout] of layouts.entries()) {
      const source = join(folder, `names${i}.h`)
      writeFileSync(source, layout.toC())
      for (const [compiler, language, standard] of LANGUAGES) {
        const args = [`-std=${standard}`, ...WARNINGS, '-x', language, '-fsyntax-only', source]
        const { status, stderr } = await compile(args, compiler)
        t.is(status, 0, `${compiler} ${standard}: ${stderr.slice(0, 2000)}`)
      }
    }
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('a field that needs no other name keeps its own, and the others get what is left', (t) => {
  const names = ['int_', 'int', 'x', '__x', '_X', 'NULL', '_a', 'int__2', 'INT8_MAX', 'order_t', '__', '_1']
  const layout = struct(Object.fromEntries(names.map((name) => [name, u8])) as Fields, { name: 'int8_t' }).layout()
  t.deepEqual(
    [...layout.toC().matchAll(/^ {2}uint8_t (\w+);/gm)].map(([, name]) => name),
    ['int_', 'int__3', 'x', 'x_2', 'X', 'NULL_', '_a', 'int__2', 'INT8_MAX_', 'order_t', 'x__', '_1']
  )
  t.regex(layout.toC(), /^} int8_t_;$/m)
})

test('a header declares what a struct contains before it', (t) => {
  const header = Order.layout().toC()
  t.true(header.indexOf('} Point;') < header.indexOf('struct Point place;'))
  t.regex(header, /uint8_t side; \/\* buy = 0, sell = 1 \*\//)
})
