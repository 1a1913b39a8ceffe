import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import ts from 'typescript'
import { ROOT, run } from '../support/child.ts'
import { blocksOf, documents, programsOf } from './blocks.ts'
import { faultOf } from './commands.ts'

/** So many blocks of all documents aren't run, for the reasons that they give. */
const NOT_RUN = 3

/** A program reads and writes files of its folder; what a line prints must begin what its comment says. */
const PRELUDE = `import { formatWithOptions as __format } from 'node:util'
import { isMainThread } from 'node:worker_threads'
if (isMainThread) process.chdir(import.meta.dirname)
globalThis.__prints = (comment, ...values) => {
  const printed = __format({ breakLength: Infinity }, ...values)
  if (!comment.startsWith(printed)) throw new Error('it printed ' + printed + ', and the document says ' + comment)
}
`
const AT_A_TIME = 2

test('the programs of all documents run, and print what they say', async (t) => {
  t.timeout(300_000)
  // Inside of the package, which so finds itself by its name.
  const folder = mkdtempSync(join(ROOT, 'dist/blocks-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const programs = documents().flatMap(programsOf)
  t.true(programs.length > 20)
  const checks = programs.flatMap(({ files }) => files.flatMap(({ code }) => code.match(/__prints\(/g) ?? []))
  t.true(checks.length > 20)
  const failed: string[] = []
  const work = programs.map((program, index) => async () => {
    const own = join(folder, String(index))
    mkdirSync(own)
    writeFileSync(join(own, 'README.md'), 'a file to be read\n'.repeat(10_000))
    writeFileSync(join(own, 'prelude.js'), PRELUDE)
    for (const { name, code } of program.files) {
      const { outputText } = ts.transpileModule(`import './prelude.js'\n${code}`, {
        // Node 20 doesn't know \`using\` yet.
        compilerOptions: { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext },
      })
      writeFileSync(join(own, name), outputText)
    }
    const { status, signal, stderr } = await run(process.execPath, [join(own, 'main.js')], 120)
    if (status !== 0) failed.push(`${program.name} ended with ${signal ?? status}:\n${stderr}`)
  })
  const next = async () => {
    for (let job = work.pop(); job !== undefined; job = work.pop()) await job()
  }
  await Promise.all(Array.from({ length: AT_A_TIME }, next))
  t.deepEqual(failed, [])
})

test('the commands of all documents, their files, scripts and options exist', async (t) => {
  let count = 0
  for (const document of documents()) {
    for (const { language, code, line, reason } of blocksOf(document)) {
      if (language !== 'sh' || reason !== undefined) continue
      for (const command of code.split('\n')) {
        const fault = await faultOf(command)
        t.is(fault, undefined, `${document}:${line}: ${command}`)
        count++
      }
    }
  }
  t.true(count > 50)
  // The check can fail.
  for (const wrong of [
    'npm run nothing',
    'node dist/nothing.js',
    'npx spanheap replay x --nothing',
    'npx nothing',
    'nothing',
  ])
    t.not(await faultOf(wrong), undefined, wrong)
})

test('what is in no language that a test knows isn’t there, and what isn’t run says why', (t) => {
  const blocks = documents().flatMap(blocksOf)
  for (const { document, line, language } of blocks) t.regex(language, /^(js|ts|sh|c)$/, `${document}:${line}`)
  t.is(blocks.filter(({ reason }) => reason !== undefined).length, NOT_RUN)
})

test('each error code has a section of its own, in the order of the code', (t) => {
  const source = readFileSync(join(ROOT, 'lib/base/errors.ts'), 'utf8')
  const codes = [...source.matchAll(/^ {2}\| '(ERR_\w+)'$/gm)].map(([, code]) => code!)
  t.true(codes.length > 15)
  const guide = readFileSync(join(ROOT, 'docs/troubleshooting.md'), 'utf8')
  t.deepEqual(
    [...guide.matchAll(/^## `(\w+)`$/gm)].map(([, code]) => code!),
    codes
  )
  const table = readFileSync(join(ROOT, 'docs/heap.md'), 'utf8')
  const rows = [...table.matchAll(/^\| `(ERR_\w+)` \|/gm)].map(([, code]) => code!)
  t.deepEqual(rows.sort(), [...codes].sort())
})

/** The anchors of a document's headings, as the sites that show Markdown make them. */
const anchorsOf = (text: string) =>
  [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading]) =>
    heading!
      .toLowerCase()
      .replace(/[^\w -]/g, '')
      .replaceAll(' ', '-')
  )

test('every link of a document leads to a file, and to a heading in it', (t) => {
  for (const document of documents()) {
    const text = readFileSync(join(ROOT, document), 'utf8')
    for (const [, path, anchor] of text.matchAll(/\]\((?!https?:)([^)#\s]*)(?:#([^)]*))?\)/g)) {
      const target = path === '' ? join(ROOT, document) : join(ROOT, document, '..', path!)
      t.true(existsSync(target), `${document}: ${path}`)
      if (anchor !== undefined && existsSync(target))
        t.true(anchorsOf(readFileSync(target, 'utf8')).includes(anchor), `${document}: ${path}#${anchor}`)
    }
  }
})

test('ARCHITECTURE is 20 KB at most: what is longer is told where it belongs', (t) => {
  t.true(readFileSync(join(ROOT, 'ARCHITECTURE.md')).length <= 20_000)
})

test('the README is short, and says how to install first', (t) => {
  const readme = readFileSync(join(ROOT, 'README.md'), 'utf8')
  t.true(Buffer.byteLength(readme) <= 9 * 1024)
  t.regex(readme, /^```sh\nnpm install spanheap\n```$/m)
  t.true(readme.indexOf('npm install spanheap') < readme.indexOf('```js'))
})
