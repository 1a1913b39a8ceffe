import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import ts from 'typescript'
import { ROOT, run } from '../support/child.ts'

/** An example of a class's doc comment. */
interface Example {
  name: string
  code: string
}

const { entryPoints } = JSON.parse(readFileSync(join(ROOT, 'typedoc.json'), 'utf8')) as { entryPoints: string[] }
const entries = entryPoints.map((path) => join(ROOT, path))
const { config } = ts.readConfigFile(join(ROOT, 'tsconfig.json'), (path) => readFileSync(path, 'utf8'))
const { options } = ts.parseJsonConfigFileContent({ ...config, include: [] }, ts.sys, ROOT)
const program = ts.createProgram(entries, options)
const checker = program.getTypeChecker()

/** All that the package exports, by its name and that of the entry point, where it is declared. */
const exported = new Map(
  entries.flatMap((entry) => {
    const module = checker.getSymbolAtLocation(program.getSourceFile(entry)!)!
    return checker.getExportsOfModule(module).map((symbol) => {
      const target = symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol
      return [target, symbol.name] as const
    })
  })
)

const tagsOf = (symbol: ts.Symbol, name: string) => symbol.getJsDocTags(checker).filter((tag) => tag.name === name)
const textOf = (tag: ts.JSDocTagInfo) => ts.displayPartsToString(tag.text)

test('every option that may be left out says by @default what it is then', (t) => {
  let count = 0
  const missing: string[] = []
  for (const [symbol, name] of exported) {
    if (!/(Options|System)$/.test(name) || !(symbol.flags & (ts.SymbolFlags.Interface | ts.SymbolFlags.TypeAlias)))
      continue
    for (const option of checker.getDeclaredTypeOfSymbol(symbol).getProperties()) {
      if (!(option.flags & ts.SymbolFlags.Optional)) continue
      count++
      if (tagsOf(option, 'default').length !== 1) missing.push(`${name}.${option.name}`)
    }
  }
  t.deepEqual(missing, [])
  t.true(count > 40)
})

const classes = [...exported].filter(([symbol]) => symbol.flags & ts.SymbolFlags.Class)
const examples = classes.flatMap(([symbol, name]) =>
  tagsOf(symbol, 'example').map((tag, index): Example => {
    const [, code] = /^```ts\n([\s\S]*)```$/.exec(textOf(tag).trim()) ?? []
    return { name: `${name}-${index}`, code: code ?? '' }
  })
)

test('every class has an @example', (t) => {
  t.true(classes.length > 10)
  t.deepEqual(
    classes.filter(([symbol]) => tagsOf(symbol, 'example').length === 0).map(([, name]) => name),
    []
  )
  for (const { name, code } of examples) t.regex(code, /^import .* from 'spanheap/m, name)
})

test('examples of classes compile, run, and print what their comments say', async (t) => {
  t.timeout(120_000)
  // Inside of the package, which so finds itself by its name.
  const folder = mkdtempSync(join(ROOT, 'dist/comments-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const sources = examples.map(({ name, code }) => {
    mkdirSync(join(folder, name))
    const path = join(folder, name, 'main.ts')
    writeFileSync(path, code)
    return path
  })
  const checked = ts.createProgram(sources, { ...options, noUnusedLocals: false }, undefined, program)
  const faults = sources.flatMap((path) => {
    const file = checked.getSourceFile(path)!
    const all = [...checked.getSyntacticDiagnostics(file), ...checked.getSemanticDiagnostics(file)]
    return all.map(({ messageText }) => `${path}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}`)
  })
  t.deepEqual(faults, [])
  // One after the other in one process: to start one for each takes longer than all of them.
  const all = examples.map(({ name, code }) => {
    const { outputText } = ts.transpileModule(code, {
      compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext },
    })
    writeFileSync(join(folder, name, 'main.js'), outputText)
    return `console.log('# ${name}')\nawait import('./${name}/main.js')\n`
  })
  writeFileSync(join(folder, 'main.mjs'), all.join(''))
  const { status, stdout, stderr } = await run(process.execPath, [join(folder, 'main.mjs')], 60)
  t.deepEqual([status, stderr], [0, ''])
  const said = examples.flatMap(({ name, code }) => [
    `# ${name}`,
    ...[...code.matchAll(/console\.log\(.*\) *\/\/ (.*)$/gm)].map(([, comment]) => comment!),
  ])
  t.deepEqual(stdout.split('\n').slice(0, -1), said)
})
