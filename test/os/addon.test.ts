import test from 'ava'
import { reportOf, run } from '../support/child.ts'

test('an addon that was built for another version of Node is refused, with what to do about it', async (t) => {
  // Another Node isn't at hand here: this one claims to be one before the library looks.
  const pretend = "Object.defineProperty(process, 'versions', { value: { ...process.versions, modules: '1' } })"
  const use = `const { Heap } = await import(${JSON.stringify(new URL('../../lib/index.js', import.meta.url).href)})`
  const report =
    'try { new Heap() } catch ({ name, code, message }) { console.log(JSON.stringify({ name, code, message })) }'
  const ended = await run(process.execPath, ['--input-type=module', '-e', [pretend, use, report].join('\n')])
  const error = reportOf<{ name: string; code: string; message: string }>(ended)
  t.like(error, { name: 'AllocatorError', code: 'ERR_HEAP_UNSUPPORTED' })
  t.true(error.message.includes(`ABI ${process.versions.modules}, this is 1`), error.message)
  t.regex(error.message, /: run `node .*build-addon\.mjs`$/)
})
