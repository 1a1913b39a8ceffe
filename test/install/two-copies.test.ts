// Two copies of the library in one process: each has an addon of its own, which knows nothing of the other's heaps.
import { cpSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import test from 'ava'
import { type AllocatorError, BufferPool, Channel, Heap } from '../../lib/index.ts'
import { struct, u8 } from '../../lib/struct/index.ts'
import { ROOT } from '../support/child.ts'
import { BUILT_ADDON } from '../support/installation.ts'

const folder = realpathSync(mkdtempSync(join(tmpdir(), 'spanheap-copies-')))
const copy = join(folder, 'spanheap')
test.after.always(() => rmSync(folder, { recursive: true, force: true }))

test('a token and a heap of another copy are refused, and the error says where both are', async (t) => {
  mkdirSync(join(copy, 'build/Release'), { recursive: true })
  cpSync(BUILT_ADDON, join(copy, 'build/Release/spanheap.node'))
  cpSync(join(ROOT, 'dist/lib'), join(copy, 'dist/lib'), { recursive: true })
  cpSync(join(ROOT, 'package.json'), join(copy, 'package.json'))
  symlinkSync(join(ROOT, 'node_modules'), join(copy, 'node_modules'))
  const module = pathToFileURL(join(copy, 'dist/lib/index.js')).href
  const other = ((await import(module)) as { Heap: typeof Heap }).Heap
  const heap = new other({ limitBytes: 2 ** 20 })
  const here = join(dirname(BUILT_ADDON), '../..')
  const told = (call: () => unknown, type: object) => {
    const { message } = t.throws(call, type) as AllocatorError
    t.true(message.includes(`${copy}/`) && message.includes(`${here}/`), message)
  }
  told(() => Heap.attach(heap.share()), { code: 'ERR_HEAP_INVALID_TOKEN' })
  for (const call of [
    () => new BufferPool({ size: 1, heap }),
    () => new Channel(heap),
    () => struct({ n: u8 }).alloc(heap),
  ])
    told(call, { instanceOf: TypeError, code: 'ERR_INVALID_ARG_TYPE' })
  heap.close()
  // Of this copy's, and closed: there is nothing to tell of copies.
  const closed = new Heap({ limitBytes: 2 ** 20 })
  const token = closed.share()
  closed.close()
  t.notRegex(t.throws(() => Heap.attach(token))!.message, /copy/)
})
