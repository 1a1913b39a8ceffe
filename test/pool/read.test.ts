import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough, Readable } from 'node:stream'
import test from 'ava'
import { fileOf, gather, isWhole, poolOf, reasonOf, sample } from '../support/pool-io.ts'

test('a file is read in chunks of the pool', async (t) => {
  const pool = poolOf(t)
  const contents = sample(5000)
  const file = await fileOf(t, contents)
  const lengths: number[] = []
  for await (const chunk of pool.read(file, { start: 0 })) {
    t.true(pool.leaseOf(chunk) !== undefined)
    t.throws(() => pool.release(chunk), { code: 'ERR_POOL_LEASED', message: /or a read loop, .* don't release it$/ })
    lengths.push(chunk.length)
  }
  t.deepEqual(lengths, [1024, 1024, 1024, 1024, 904])
  t.deepEqual(await gather(pool.read(file, { start: 0 })), contents)
  t.is(pool.stats().buffers, 2, 'one that the program has, and one that is read ahead')
  await isWhole(t, pool)
})

test('start and end are those of fs.createReadStream', async (t) => {
  const pool = poolOf(t)
  const contents = sample(5000)
  const file = await fileOf(t, contents)
  t.deepEqual(await gather(pool.read(file, { start: 10, end: 10 })), contents.subarray(10, 11))
  t.deepEqual(await gather(pool.read(file, { start: 100, end: 2999 })), contents.subarray(100, 3000))
  t.deepEqual(await gather(pool.read(file, { start: 4000, end: 1e6 })), contents.subarray(4000))
  t.deepEqual(await gather(pool.read(file, { start: 5000 })), Buffer.alloc(0))
  t.deepEqual(await gather(pool.read(file, { start: 10, end: 9 })), Buffer.alloc(0))
  const { bytesRead } = await file.read(Buffer.alloc(5000), 0, 3000, 0)
  t.is(bytesRead, 3000)
  await isWhole(t, pool)
})

test('a loop over a file that is left can be gone on with, by whatever reads it', async (t) => {
  for (const max of [1, 8]) {
    const pool = poolOf(t, 1024, max)
    const contents = sample(10 * 1024)
    const file = await fileOf(t, contents)
    const read: Buffer[] = []
    for await (const chunk of pool.read(file)) {
      read.push(Buffer.from(chunk))
      if (read.length === 2) break
    }
    const { buffer } = await file.read(Buffer.alloc(100), 0, 100, null)
    read.push(buffer)
    await t.throwsAsync(async () => {
      for await (const chunk of pool.read(file)) {
        read.push(Buffer.from(chunk))
        throw new Error('on purpose')
      }
    })
    for await (const chunk of pool.read(file, { end: Number.POSITIVE_INFINITY })) read.push(Buffer.from(chunk))
    t.deepEqual(Buffer.concat(read), contents)
    // From a place of its own the file stays where it is: at its end.
    for await (const _ of pool.read(file, { start: 0, end: Number.POSITIVE_INFINITY })) break
    t.is((await file.read(Buffer.alloc(1), 0, 1, null)).bytesRead, 0)
    await isWhole(t, pool)
  }
})

test('a FIFO to which nobody writes any more can be closed', async (t) => {
  const pool = poolOf(t)
  const folder = mkdtempSync(join(tmpdir(), 'spanheap-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const path = join(folder, 'fifo')
  execFileSync('mkfifo', [path])
  const file = await open(path, 'r+') // its own writer: it has no end
  await file.write('hello')
  for await (const chunk of pool.read(file)) {
    t.is(chunk.toString(), 'hello')
    await file.close()
    break
  }
  await isWhole(t, pool)
})

test('an empty file, one that is cut short, one that is closed', async (t) => {
  const pool = poolOf(t)
  t.deepEqual(await gather(pool.read(await fileOf(t, Buffer.alloc(0)))), Buffer.alloc(0))
  const file = await fileOf(t, sample(4096))
  let chunks = 0
  for await (const chunk of pool.read(file, { start: 0 })) {
    // The second is being read while the program has the first.
    t.true(chunk.length === 1024 || chunk.length === 476)
    chunks++
    await file.truncate(1500)
  }
  t.is(chunks, 2)
  await file.close()
  t.is((await reasonOf(gather(pool.read(file)))).code, 'EBADF')
  await isWhole(t, pool)
})

test("a file can't be read", async (t) => {
  const pool = poolOf(t)
  const file = await fileOf(t, sample(100))
  const failing = new Proxy(file, {
    get: (target, key) =>
      key === 'read'
        ? () => Promise.reject(new Error('on purpose'))
        : key === 'fd'
          ? target.fd
          : Reflect.get(target, key, target),
  })
  t.is((await reasonOf(gather(pool.read(failing)))).message, 'on purpose')
  await isWhole(t, pool)
})

test('chunks of other streams are copied, however long', async (t) => {
  const pool = poolOf(t, 100)
  const parts = [sample(250), sample(1), Buffer.alloc(0), sample(100)]
  const lengths: number[] = []
  const copies: Buffer[] = []
  for await (const chunk of pool.read(Readable.from(parts, { objectMode: false }))) {
    t.true(pool.leaseOf(chunk) !== undefined)
    lengths.push(chunk.length)
    copies.push(Buffer.from(chunk))
  }
  t.deepEqual(lengths, [100, 100, 50, 1, 100])
  t.deepEqual(Buffer.concat(copies), Buffer.concat(parts))
  await isWhole(t, pool)
})

test('a loop that is left gives the buffer back, and destroys the stream as usual', async (t) => {
  const pool = poolOf(t, 100)
  const stream = Readable.from([sample(250)], { objectMode: false })
  for await (const _ of pool.read(stream)) break
  t.true(stream.destroyed)
  const file = await fileOf(t, sample(1000))
  for await (const _ of pool.read(file)) break
  await t.throwsAsync(
    async () => {
      for await (const _ of pool.read(file)) throw new Error('on purpose')
    },
    { message: 'on purpose' }
  )
  await isWhole(t, pool)
})

test('an abort before, while a file is read, and while nothing comes', async (t) => {
  const pool = poolOf(t, 100, 1)
  const reason = new Error('no more')
  t.is(await reasonOf(gather(pool.read(new PassThrough(), { signal: AbortSignal.abort(reason) }))), reason)

  const file = await fileOf(t, sample(1000))
  const controller = new AbortController()
  const reading = gather(pool.read(file, { signal: controller.signal, start: 0 }))
  await new Promise(setImmediate)
  controller.abort(reason)
  t.is(await reasonOf(reading), reason)

  // Nothing ever comes of it.
  const silent = new PassThrough()
  const other = new AbortController()
  const waiting = gather(pool.read(silent, { signal: other.signal }))
  await new Promise(setImmediate)
  other.abort(reason)
  t.is(await reasonOf(waiting), reason)
  t.true(silent.destroyed)

  // Nobody releases the only buffer.
  const held = pool.acquire()
  const third = new AbortController()
  const queued = gather(pool.read(file, { signal: third.signal, start: 0 }))
  await new Promise(setImmediate)
  third.abort(reason)
  t.is(await reasonOf(queued), reason)
  pool.release(held)
  await isWhole(t, pool)
})

test('a chunk that is retained, or written, outlives its turn', async (t) => {
  const pool = poolOf(t, 100)
  const contents = sample(300)
  const file = await fileOf(t, contents)
  const chunks: { chunk: Buffer; release(): void }[] = []
  for await (const chunk of pool.read(file, { start: 0 })) {
    const lease = pool.leaseOf(chunk)!.retain()
    chunks.push({ chunk, release: () => lease.release() })
  }
  t.is(pool.stats().leased, 3)
  t.deepEqual(Buffer.concat(chunks.map(({ chunk }) => chunk)), contents)
  for (const { release } of chunks) release()
  await isWhole(t, pool)
})

test('strings, and what is no source, are refused', async (t) => {
  const pool = poolOf(t)
  const wrong = { instanceOf: TypeError, code: 'ERR_INVALID_ARG_TYPE' }
  await t.throwsAsync(() => gather(pool.read(Readable.from(['text']) as never)), wrong)
  await t.throwsAsync(() => gather(pool.read(new PassThrough({ encoding: 'utf8' }).end('text') as never)), wrong)
  for (const source of [undefined, null, 7, {}, 'text'.repeat(0)]) {
    if (source !== '') await t.throwsAsync(() => gather(pool.read(source as never)), wrong)
  }
  t.throws(() => pool.read(new PassThrough(), null as never), wrong)
  await t.throwsAsync(() => gather(pool.read(new PassThrough(), { signal: {} as never })), wrong)
  const file = await fileOf(t, sample(10))
  for (const options of [{ start: -1 }, { start: 0.5 }, { end: -1 }]) {
    await t.throwsAsync(() => gather(pool.read(file, options)), { code: 'ERR_OUT_OF_RANGE' })
  }
  await isWhole(t, pool)
})

test('a pool that is closed reads nothing more', async (t) => {
  const pool = poolOf(t, 100)
  const file = await fileOf(t, sample(1000))
  let chunks = 0
  const error = await reasonOf(
    (async () => {
      for await (const _ of pool.read(file, { start: 0 })) {
        chunks++
        pool.close()
      }
    })()
  )
  t.is(error.code, 'ERR_POOL_CLOSED')
  t.is(chunks, 2, 'the second was being read already')
})
