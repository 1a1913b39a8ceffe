import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import ts from 'typescript'
import { ROOT } from '../support/child.ts'

/** The declarations that are published: what an editor knows of an object. */
const { exports } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
  exports: Record<string, { types?: string }>
}
const entries = Object.values(exports).flatMap(({ types }) => (types === undefined ? [] : [join(ROOT, types)]))
const program = ts.createProgram(entries, {
  module: ts.ModuleKind.NodeNext,
  target: ts.ScriptTarget.ES2022,
  lib: ['lib.es2023.d.ts', 'lib.esnext.disposable.d.ts'],
  types: ['node'],
  strict: true,
  skipLibCheck: false,
})
const checker = program.getTypeChecker()

/** The classes that a program can name, each once. */
const classes = new Map(
  entries.flatMap((entry) =>
    checker
      .getExportsOfModule(checker.getSymbolAtLocation(program.getSourceFile(entry)!)!)
      .map((symbol) => (symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol))
      .filter((symbol) => symbol.flags & ts.SymbolFlags.Class)
      .map((symbol) => [symbol.name, symbol] as const)
  )
)

/** What an editor offers behind `object.`: names, that is, and neither symbols nor private fields. */
function offered(type: ts.Type): string[] {
  return type
    .getProperties()
    .filter((property) => !/^(__@|__#|#)/.test(property.name) && isOurs(property))
    .map(({ name }) => name)
}

/** Neither private nor JavaScript's own, as an Error's message is. */
const isOurs = (property: ts.Symbol) =>
  (property.declarations ?? []).some(
    (declaration) =>
      declaration.getSourceFile().fileName.startsWith(join(ROOT, 'dist')) &&
      !(ts.getCombinedModifierFlags(declaration) & (ts.ModifierFlags.Private | ts.ModifierFlags.Protected))
  )

test('the declarations that are published have no errors, their own files checked too', (t) => {
  const faults = ts.getPreEmitDiagnostics(program).filter(({ file }) => file?.fileName.startsWith(join(ROOT, 'dist')))
  t.deepEqual(
    faults.map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n')),
    []
  )
})

test('an editor offers of each object what a program is to call, and each says what it does', (t) => {
  t.true(classes.size > 15)
  const silent: string[] = []
  for (const [name, symbol] of classes) {
    const type = checker.getDeclaredTypeOfSymbol(symbol)
    for (const member of offered(type)) {
      const property = type.getProperty(member)!
      if (property.getDocumentationComment(checker).length === 0 && property.getJsDocTags(checker).length === 0)
        silent.push(`${name}.${member}`)
    }
  }
  t.deepEqual(silent, [])
})

test('what an editor offers of a heap and of a pool', (t) => {
  const of = (name: string) =>
    offered(checker.getDeclaredTypeOfSymbol(classes.get(name)!))
      .sort()
      .join(' ')
  t.is(
    of('Heap'),
    'addressOf adopt adoptLease alignedAlloc allocArray allocBuffer arena audit block buffer bufferAt calloc close free freeBuffer handles lease malloc pass ' +
      'realloc releaseFreeMemory residentBytes share stats systemCalls threadIdle toJSON unwatch usableSize view'
  )
  t.is(
    of('BufferPool'),
    'acquire acquireAsync adopt adoptLease close connect createServer heap hold lease leaseAsync leaseOf pass read reclaim release share size stats tag ' +
      'toJSON trim tryAcquire tryLease write'
  )
})
