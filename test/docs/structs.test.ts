import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import test from 'ava'
import { ROOT, run } from '../support/child.ts'

const guide = readFileSync(join(ROOT, 'docs/structs.md'), 'utf8')
const blocks = [...guide.matchAll(/```js\n([\s\S]*?)```/g)].map(([, code]) => code!)

for (const [i, code] of blocks.entries()) {
  test(`code block ${i + 1} of docs/structs.md prints what it says`, async (t) => {
    const expected = [...code.matchAll(/console\.log\(.*\) *\/\/ (.*)$/gm)].map(([, text]) => text)
    t.true(expected.length > 0)
    const ended = await run(process.execPath, ['--input-type=module', '-e', code])
    t.is(ended.status, 0, ended.stderr)
    t.deepEqual(ended.stdout.trimEnd().split('\n'), expected)
  })
}

test('the pictures are drawn from the layouts as they are, and all are in the guide', async (t) => {
  const ended = await run(process.execPath, ['scripts/struct-pictures.mjs', '--check'])
  t.is(ended.status, 0, ended.stderr)
  const shown = [...guide.matchAll(/\]\(structs\/([\w-]+\.svg)\)/g)].map(([, file]) => file!)
  t.deepEqual(shown.sort(), readdirSync(join(ROOT, 'docs/structs')).sort())
})
