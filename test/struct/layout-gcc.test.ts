import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import type { Layout } from '../../lib/struct/index.ts'
import { run } from '../support/child.ts'
import { compile } from '../support/gcc.ts'
import { Random } from '../support/random.ts'
import { randomStruct } from '../support/random-struct.ts'

const STRUCTS = 2000

/** A program that prints what the compiler makes of structs: size and alignment, then each field's offset, or its bits. */
function programOf(layouts: readonly Layout[]): string {
  const parts = ['#include <stdio.h>', '#include <string.h>']
  const calls: string[] = []
  for (const layout of layouts) {
    parts.push(layout.toC())
    const { name } = layout
    const lines = layout.fields.map(({ name: field, bits }) =>
      bits === undefined
        ? `  printf(" %zu", offsetof(${name}, ${field}));`
        : `  { ${name} s; memset(&s, 0, sizeof s); s.${field} = -1; bits(&s, sizeof s); }`
    )
    parts.push(
      `void p_${name}(void) {`,
      `  printf("%zu %zu", sizeof(${name}), _Alignof(${name}));`,
      ...lines,
      '  puts("");',
      '}'
    )
    calls.push(`p_${name}();`)
  }
  const bits = `static void bits(const void *p, size_t n) {
    const unsigned char *b = p; long first = -1, count = 0;
    for (size_t i = 0; i < n * 8; i++) if (b[i / 8] >> (i % 8) & 1) { if (first < 0) first = (long)i; count++; }
    printf(" %ld:%ld", first, count);
  }`
  return [...parts.slice(0, 2), bits, ...parts.slice(2), `int main(void) { ${calls.join(' ')} return 0; }`].join('\n')
}

function lineOf({ size, alignment, fields }: Layout): string {
  const places = fields.map(({ offset, bits }) =>
    bits === undefined ? String(offset) : `${offset * 8 + bits.first}:${bits.width}`
  )
  return [size, alignment, ...places].join(' ')
}

test(`${STRUCTS} random structs lie in memory as gcc lays them out`, async (t) => {
  t.is(process.arch, 'x64', 'the layout is that of x86-64: the comparison must run there')
  const layouts = Array.from({ length: STRUCTS }, (_, i) => randomStruct(new Random(i + 1), `S${i}`).layout())
  t.true(layouts.filter(({ packed }) => packed).length > STRUCTS / 10)
  t.true(layouts.filter(({ fields }) => fields.some(({ bits }) => bits !== undefined)).length > STRUCTS / 3)
  const folder = mkdtempSync(join(tmpdir(), 'spanheap-'))
  try {
    const source = join(folder, 'structs.c')
    const program = join(folder, 'structs')
    writeFileSync(source, programOf(layouts))
    const compiled = await compile(['-std=gnu11', '-O0', '-w', '-o', program, source])
    t.is(compiled.status, 0, compiled.stderr.slice(0, 2000))
    const { stdout } = await run(program, [])
    const lines = stdout.trimEnd().split('\n')
    t.is(lines.length, STRUCTS)
    for (const [i, layout] of layouts.entries()) {
      if (lines[i] !== lineOf(layout)) t.is(lines[i], lineOf(layout), layout.toC())
    }
  } finally {
    rmSync(folder, { recursive: true })
  }
})
