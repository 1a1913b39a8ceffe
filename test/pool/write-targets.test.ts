import { EventEmitter, once } from 'node:events'
import { PassThrough, Writable } from 'node:stream'
import test, { type ExecutionContext } from 'ava'
import type { BufferPool } from '../../lib/index.ts'
import { HOST } from '../../lib/lifetime/host.ts'
import { gather, isWhole, poolOf, reasonOf } from '../support/pool-io.ts'
import { NODE, PACKAGES } from '../support/stream-kinds.ts'

/** Nothing fails and nothing is late. */
const calmly = () => 1

const CHUNKS = 20
const SIZE = 100

for (const [name, open] of Object.entries({ ...NODE, ...PACKAGES })) {
  if (/forgets|no gzip/.test(name)) continue
  test(`a chunk stays what it was when its buffer is another's: ${name}`, async (t) => {
    // Two, and those that sockets of the pool read into.
    const pool = poolOf(t, SIZE, /of a pool/.test(name) ? 4 : 2)
    const { input, output, result, close } = await open(calmly, pool)
    const finished = result !== undefined && 'end' in input ? once(input, 'finish') : undefined
    const writing = (async () => {
      for (let i = 0; i < CHUNKS; i++) {
        const buffer = await pool.acquireAsync()
        await pool.write(input, buffer.fill(i))
        pool.release(buffer)
      }
      if ('end' in input) input.end()
    })()
    // Those that wait for a reader have one after some have been written.
    await new Promise((resolve) => setTimeout(resolve, 5))
    const got = output === undefined ? undefined : gather(pool.read(output))
    await writing
    if (result !== undefined) await finished
    const all = (await got) ?? (await result!())
    t.deepEqual(all, Buffer.from(Uint8Array.from({ length: CHUNKS * SIZE }, (_, at) => at / SIZE)))
    await close()
    await isWhole(t, pool)
  })
}

/** What `pool.write` makes of a target that has only some of what streams have. */
async function rejectsOf(t: ExecutionContext, pool: BufferPool, target: unknown): Promise<Error & { code?: string }> {
  const lease = pool.lease()
  const reason = await reasonOf(pool.write(target as Writable, lease))
  t.is(lease.references, 1)
  lease.release()
  return reason
}

test('what is no stream is refused, and nothing is held', async (t) => {
  const pool = poolOf(t, SIZE)
  const wrong = [{ write() {} }, { write() {}, once: 1 }, { once() {} }, () => {}, new WritableStream().getWriter()]
  for (const target of wrong) t.is((await rejectsOf(t, pool, target)).code, 'ERR_INVALID_ARG_TYPE')
  const reason = new Error('on purpose')
  const fails = () => {
    throw reason
  }
  t.is(await rejectsOf(t, pool, { write() {}, once: fails }), reason)
  t.is(await rejectsOf(t, pool, { write: fails, once() {} }), reason)
  await isWhole(t, pool)
  await pool[Symbol.asyncDispose]()
  t.false(pool.heap[HOST].isOpen)
})

/** A stream that takes no callback, as streamx and those of before Node's second. */
class Plain extends EventEmitter {
  readonly chunks: Uint8Array[] = []
  hasRoom = true
  destroyed = false
  write(chunk: Uint8Array): boolean {
    this.chunks.push(chunk)
    return this.hasRoom
  }
}

test('a stream that takes no callback has room, drains, finishes, fails, is closed or destroyed', async (t) => {
  const pool = poolOf(t, SIZE)
  const lease = pool.lease()
  lease.buffer.fill('a')
  const plain = new Plain()
  const write = () => pool.write(plain as unknown as Writable, lease)
  await write()
  lease.buffer.fill('b')
  t.is(`${plain.chunks[0]}`, `${Buffer.alloc(SIZE, 'a')}`)
  plain.hasRoom = false
  for (const event of ['drain', 'finish']) {
    const [one, two] = [write(), write()]
    t.is(lease.references, 3)
    plain.emit(event)
    await one
    await two
  }
  t.true(plain.listenerCount('drain') <= 1)
  const reason = new Error('on purpose')
  const failing = write()
  t.throws(() => plain.emit('error', reason), { is: reason }, 'the error is still nobody’s')
  t.is(await reasonOf(failing), reason)
  for (const how of ['close', undefined]) {
    const writing = write()
    if (how === undefined) plain.destroyed = true
    else plain.emit(how)
    t.regex((await reasonOf(writing)).message, /closed before/)
  }
  plain.hasRoom = true
  t.regex((await reasonOf(write())).message, /closed before/)
  t.is(lease.references, 1)
  lease.release()
  await isWhole(t, pool)
})

test("a write that was replaced, and calls nobody back, doesn't wait for ever", async (t) => {
  const pool = poolOf(t, SIZE)
  const lease = pool.lease()
  const caught: unknown[] = []
  const stream = new PassThrough()
  stream.write = ((chunk: unknown, _encoding: unknown, _callback: unknown) =>
    caught.push(chunk) > 0) as typeof stream.write
  await pool.write(stream, lease)
  const passing = new PassThrough()
  const { write } = passing
  passing.write = ((...given: unknown[]) => write.apply(passing, given as never)) as typeof write
  const late = new Writable({ write: (_, __, done) => void setTimeout(done, 5, new Error('on purpose')) })
  late.on('error', () => {})
  const lateWrite = late.write
  late.write = ((...given: unknown[]) => lateWrite.apply(late, given as never)) as typeof write
  await pool.write(passing, lease)
  t.is((await reasonOf(pool.write(late, lease))).message, 'on purpose')
  t.is(caught.length, 1)
  lease.release()
  await isWhole(t, pool)
})
