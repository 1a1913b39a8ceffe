import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import ts from 'typescript'
import { ROOT, run } from '../support/child.ts'

test('the code of docs/lifetimes.md runs, and prints what it says', async (t) => {
  const guide = readFileSync(join(ROOT, 'docs/lifetimes.md'), 'utf8')
  const code = [...guide.matchAll(/```js\n([\s\S]*?)```/g)].map(([, block]) => block!).join('\n')
  const { outputText } = ts.transpileModule(code, {
    // Node 20 doesn't know `using` yet.
    compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext },
  })
  // Inside of the package, which so finds itself by its name.
  const folder = mkdtempSync(join(ROOT, 'dist/guide-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const file = join(folder, 'guide.mjs')
  writeFileSync(file, outputText)
  const { status, stdout, stderr } = await run(process.execPath, [file])
  t.is(status, 0, stderr)
  const printed = stdout.trim().split('\n')
  const said = [...code.matchAll(/console\.log\(.*\) +\/\/ (.*)/g)].map(([, comment]) => comment!)
  t.is(printed.length, said.length)
  for (const [i, line] of printed.entries()) t.true(said[i]!.startsWith(line), `${line}, not ${said[i]}`)
})
