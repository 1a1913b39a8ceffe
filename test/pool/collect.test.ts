import { once } from 'node:events'
import { type FileHandle, open } from 'node:fs/promises'
import { createServer, type IncomingMessage, request } from 'node:http'
import { connect } from 'node:net'
import { PassThrough, Readable } from 'node:stream'
import { setImmediate } from 'node:timers/promises'
import test from 'ava'
import fc from 'fast-check'
import { AllocatorError, type CollectOptions, type CollectSource, Heap, PoolSet } from '../../lib/index.ts'
import { fileOf, listening, reasonOf, sample, serve } from '../support/pool-io.ts'

const TOO_LARGE = { instanceOf: AllocatorError, code: 'ERR_POOL_SOURCE_TOO_LARGE' }
const REASON = new Error('no more')

/** A file once more, with a position of its own. */
const reopened = ({ fd }: FileHandle) => open(`/proc/self/fd/${fd}`, 'r')

/** What is in use of a set, once nothing is idle. */
const liveBytes = (pools: PoolSet) => {
  pools.trim()
  pools.heap.audit()
  return pools.heap.stats().liveBytes
}

async function* chunksOf(contents: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < contents.length; at += size) yield contents.subarray(at, at + size)
}

const slices = (contents: Buffer, size: number) =>
  Array.from({ length: Math.ceil(contents.length / size) }, (_, i) => contents.subarray(i * size, (i + 1) * size))

/** All kinds of sources of the same bytes. */
const SOURCES: Record<string, (contents: Buffer, size: number) => CollectSource> = {
  Readable: (contents, size) => Readable.from(slices(contents, size), { objectMode: false }),
  'Readable of objects': (contents, size) => Readable.from(slices(contents, size)),
  'async iterable': (contents, size) => chunksOf(contents, size),
  Blob: (contents) => new Blob([contents]),
  'web stream': (contents, size) => Readable.toWeb(Readable.from(slices(contents, size))) as ReadableStream<Uint8Array>,
  'byte stream': (contents, size) => {
    const left = slices(contents, size)
    return new ReadableStream({
      type: 'bytes',
      pull(controller) {
        const chunk = left.shift()
        if (chunk === undefined) controller.close()
        else controller.enqueue(Uint8Array.from(chunk))
      },
    })
  },
  Response: (contents) => new Response(contents),
  Request: (contents) => new Request('http://localhost/', { method: 'POST', body: contents }),
}

for (const [kind, sourceOf] of Object.entries(SOURCES))
  test(`all bytes of a source: ${kind}`, async (t) => {
    using pools = new PoolSet()
    for (const length of [0, 1, 100, 65_536, 65_537, 1_000_000]) {
      const contents = sample(length)
      for (const options of [
        {},
        { sizeHint: 1 },
        { sizeHint: length },
        { sizeHint: 3_000_000 },
        { maxBytes: length },
      ]) {
        const lease = await pools.collect(sourceOf(contents, 60_000), options as CollectOptions)
        t.is(lease.buffer.length, length)
        t.true(lease.buffer.equals(contents), `${length} ${JSON.stringify(options)}`)
        const usable = length === 0 ? 0 : pools.heap.usableSize(pools.heap.addressOf(lease.buffer))
        t.true(usable <= length * 1.3 + 16, `${usable} bytes for ${length}`)
        lease.release()
        await t.throwsAsync(pools.collect(sourceOf(sample(length + 1), 60_000), { maxBytes: length }), TOO_LARGE)
      }
    }
    t.is(liveBytes(pools), 0)
  })

test('a file is read from its position, whatever length it tells, and stays open', async (t) => {
  using pools = new PoolSet()
  const contents = sample(300_000)
  const file = await fileOf(t, contents)
  const options: CollectOptions[] = [
    {},
    { sizeHint: 0 },
    { sizeHint: 10 },
    { sizeHint: 300_000 },
    { maxBytes: 300_000 },
  ]
  for (const each of options) {
    const again = await reopened(file)
    const start = Buffer.alloc(7)
    await again.read(start, 0, 7, null)
    const lease = await pools.collect(again, each)
    t.true(lease.buffer.equals(contents.subarray(7)), JSON.stringify(each))
    lease.release()
    t.is((await again.read(start, 0, 7, 0)).bytesRead, 7)
    await t.throwsAsync(
      again.read(start, 0, 7, 0).then(() => pools.collect(again, { signal: AbortSignal.abort(REASON) })),
      { is: REASON }
    )
    await again.close()
  }
  const status = await open('/proc/self/status')
  const lease = await pools.collect(status)
  t.regex(`${lease.buffer}`, /^Name:.*\nUmask:/)
  lease.release()
  await status.close()
  const short = await reopened(file)
  await t.throwsAsync(pools.collect(short, { maxBytes: 299_999 }), TOO_LARGE)
  t.true(short.fd > 0)
  await short.close()
  t.is((await reasonOf(pools.collect(short))).code, 'EBADF')
  t.is(liveBytes(pools), 0)
})

test('requests, with and without a length, and one that its client leaves', async (t) => {
  using pools = new PoolSet()
  const contents = sample(500_000)
  const outcomes: Promise<unknown>[] = []
  const server = createServer((message, response) => {
    const collected = pools.collect(message, { maxBytes: 2 ** 20 }).then(async (lease) => {
      t.true(lease.buffer.equals(contents))
      await lease.end(response)
    })
    outcomes.push(collected.catch((error: Error) => error))
  })
  const port = await listening(t, server)
  for (const headers of [{ 'Content-Length': contents.length }, {}]) {
    const asked = request({ port, host: '127.0.0.1', method: 'POST', headers, agent: false })
    for (const chunk of slices(contents, 70_000)) asked.write(chunk)
    asked.end()
    const [response] = (await once(asked, 'response')) as [IncomingMessage]
    const answer = await pools.collect(response)
    t.true(answer.buffer.equals(contents))
    answer.release()
  }
  const left = request({ port, host: '127.0.0.1', method: 'POST', headers: { 'Content-Length': 5e9 }, agent: false })
  left.on('error', () => {}).write('only this')
  while (outcomes.length < 3) await setImmediate()
  await new Promise((resolve) => setTimeout(resolve, 20))
  t.true(pools.heap.stats().liveBytes < 17 * 2 ** 20, 'a header is believed up to 16 MiB')
  left.destroy()
  t.is(((await outcomes[2]) as { code: string }).code, 'ECONNRESET')
  const long = request({ port, host: '127.0.0.1', method: 'POST', agent: false })
  long.on('error', () => {})
  const closed = new Promise((resolve) => long.on('close', resolve))
  long.end(Buffer.alloc(2 ** 20 + 1))
  await closed
  t.is(((await outcomes[3]) as { code: string }).code, 'ERR_POOL_SOURCE_TOO_LARGE')
  await Promise.all(outcomes)
  t.is(liveBytes(pools), 0)
})

test('a socket that reads into buffers of the pools', async (t) => {
  using pools = new PoolSet()
  const contents = sample(400_000)
  pools.release(pools.acquire(65_536)) // so that its pool has grown
  const before = liveBytes(pools)
  const port = await serve(t, (socket) => void socket.end(contents))
  const lease = await pools.collect(pools.connect(port, '127.0.0.1'))
  t.true(lease.buffer.equals(contents))
  lease.release()
  const plain = await pools.collect(connect(port, '127.0.0.1'))
  t.true(plain.buffer.equals(contents))
  plain.release()
  await setImmediate()
  t.is(liveBytes(pools), before)
})

test('of a stream only its headers are looked at: undici’s makes a web stream of itself when its `body` is', async (t) => {
  await using pools = new PoolSet()
  const source = Readable.from([Buffer.from('hello')])
  for (const name of ['body', 'bodyUsed', 'stream', 'size'])
    Object.defineProperty(source, name, { get: () => t.fail(name) })
  using lease = await pools.collect(source)
  t.is(lease.buffer.toString(), 'hello')
})

test('a source that is destroyed, fails, or brings no bytes', async (t) => {
  using pools = new PoolSet()
  const destroyed = new PassThrough()
  destroyed.write('some')
  const waiting = pools.collect(destroyed)
  await setImmediate()
  destroyed.destroy()
  t.is((await reasonOf(waiting)).code, 'ERR_STREAM_PREMATURE_CLOSE')
  t.is((await reasonOf(pools.collect(destroyed))).code, 'ERR_STREAM_PREMATURE_CLOSE')

  const failing = new PassThrough()
  failing.write('some')
  const failed = pools.collect(failing)
  failing.destroy(REASON)
  await t.throwsAsync(failed, { is: REASON })

  const text = new PassThrough()
  text.setEncoding('utf8')
  text.write('text')
  await t.throwsAsync(pools.collect(text), { instanceOf: TypeError, code: 'ERR_INVALID_ARG_TYPE' })
  t.true(text.destroyed)

  const thrown = (async function* () {
    yield Buffer.from('some')
    throw REASON
  })()
  await t.throwsAsync(pools.collect(thrown), { is: REASON })

  const ended = Readable.from([Buffer.from('some')])
  ended.resume()
  await once(ended, 'end')
  await t.throwsAsync(pools.collect(ended), { instanceOf: TypeError, code: 'ERR_INVALID_ARG_VALUE' })
  const response = new Response('some')
  await response.text()
  await t.throwsAsync(pools.collect(response), { instanceOf: TypeError, code: 'ERR_INVALID_ARG_VALUE' })
  const locked = new Response('some').body!
  locked.getReader()
  await t.throwsAsync(pools.collect(locked as never), { instanceOf: TypeError })

  for (const source of [undefined, null, 7, 'text', {}, [], Buffer.from('bytes')])
    await t.throwsAsync(pools.collect(source as never), { code: 'ERR_INVALID_ARG_TYPE' }, String(source))
  for (const options of [{ sizeHint: -1 }, { maxBytes: 1.5 }])
    await t.throwsAsync(pools.collect(new PassThrough(), options), { code: 'ERR_OUT_OF_RANGE' })
  for (const options of [{ signal: {} }, { max: 7 }, null])
    await t.throwsAsync(pools.collect(new PassThrough(), options as never), { instanceOf: TypeError })
  t.is(liveBytes(pools), 0)
})

test('aborts, at once and halfway, destroy the source', async (t) => {
  using pools = new PoolSet()
  const never = new PassThrough()
  await t.throwsAsync(pools.collect(never, { signal: AbortSignal.abort(REASON) }), { is: REASON })
  t.false(never.destroyed, 'nothing was begun')
  let isReturned = false
  const stuck = {
    [Symbol.asyncIterator]: () => ({
      next: () => new Promise<never>(() => {}),
      return: async () => {
        isReturned = true
        return { done: true as const, value: undefined }
      },
    }),
  }
  let isCancelled = false
  const web = new ReadableStream<Uint8Array>({
    cancel() {
      isCancelled = true
    },
  })
  for (const source of [never, stuck, web]) {
    const controller = new AbortController()
    const collected = pools.collect(source, { signal: controller.signal, sizeHint: 100_000 })
    if (source === never) never.write('some')
    await setImmediate()
    controller.abort(REASON)
    await t.throwsAsync(collected, { is: REASON })
  }
  t.deepEqual([never.destroyed, isReturned, isCancelled], [true, true, true])
  const file = await fileOf(t, sample(100_000))
  const again = await reopened(file)
  for (let turns = 0; turns < 5; turns++) {
    const controller = new AbortController()
    const collected = pools.collect(again, { signal: controller.signal })
    collected.catch(() => {})
    for (let i = 0; i < turns; i++) await Promise.resolve()
    controller.abort(REASON)
    await t.throwsAsync(collected, { is: REASON })
  }
  await again.close()
  await setImmediate()
  t.is(liveBytes(pools), 0)
})

test('a close ends what collects, and a lease outlives it', async (t) => {
  const pools = new PoolSet()
  const { heap } = pools
  const done = await pools.collect(Readable.from([Buffer.from('some')]))
  const source = new PassThrough()
  source.write('more')
  const collected = pools.collect(source)
  await setImmediate()
  pools.close()
  await t.throwsAsync(collected, { code: 'ERR_POOL_CLOSED' })
  t.true(source.destroyed)
  await t.throwsAsync(pools.collect(Readable.from([])), { code: 'ERR_POOL_CLOSED' })
  t.is(`${done.buffer}`, 'some')
  done.release()
  await pools[Symbol.asyncDispose]()
  t.throws(() => heap.malloc(1), { code: 'ERR_HEAP_CLOSED' })
})

test('a heap that is closed while its set collects', async (t) => {
  const pools = new PoolSet()
  const source = new PassThrough()
  source.write(sample(1000))
  const collected = pools.collect(source)
  await setImmediate()
  pools.heap.close()
  source.write(sample(1000))
  await t.throwsAsync(collected, { code: 'ERR_HEAP_CLOSED' })
  t.true(source.destroyed)
  pools.close()
})

test('no memory: a typed error, the source destroyed, and nothing kept', async (t) => {
  using heap = new Heap({ limitBytes: 2 ** 20 })
  using pools = new PoolSet({ heap, sizes: [1024] })
  for (const options of [{}, { sizeHint: 2 ** 30 }]) {
    const source = Readable.from(slices(sample(3_000_000), 60_000))
    await t.throwsAsync(pools.collect(source, options), { code: 'ERR_HEAP_OUT_OF_MEMORY' })
    t.true(source.destroyed)
  }
  const lease = await pools.collect(Readable.from([sample(100)]), { sizeHint: 2 ** 30 })
  t.is(lease.buffer.length, 100, 'a hint that is too large is only a hint')
  lease.release()
  t.is(liveBytes(pools), 0)
})

test('sources that end in any way, many at once, against a model', async (t) => {
  const plan = fc.record({
    sizes: fc.array(fc.nat(90_000), { maxLength: 8 }),
    end: fc.constantFrom('ends', 'fails', 'is destroyed', 'is aborted', 'is too long'),
    kind: fc.constantFrom('stream', 'iterable', 'web'),
    hint: fc.option(fc.nat(300_000), { nil: undefined }),
  })
  await fc.assert(
    fc.asyncProperty(fc.array(plan, { maxLength: 6 }), async (plans) => {
      using pools = new PoolSet()
      const outcomes = await Promise.allSettled(
        plans.map(async ({ sizes, end, kind, hint }) => {
          const chunks = sizes.map((size, i) => Buffer.alloc(size, i + 1))
          const whole = Buffer.concat(chunks)
          const controller = new AbortController()
          const made = (async function* () {
            for (const chunk of chunks) {
              yield chunk
              await setImmediate()
            }
            if (end === 'fails') throw REASON
            if (end === 'is aborted') controller.abort(REASON)
          })()
          let source: CollectSource = made
          if (end === 'is destroyed') {
            const passing = new PassThrough()
            for (const chunk of chunks) passing.write(chunk)
            setTimeout(() => passing.destroy())
            source = passing
          } else if (kind !== 'iterable') {
            const stream = Readable.from(made)
            source = kind === 'web' ? (Readable.toWeb(stream) as ReadableStream<Uint8Array>) : stream
          }
          const options: CollectOptions = { signal: controller.signal }
          if (hint !== undefined) options.sizeHint = hint
          if (end === 'is too long') options.maxBytes = Math.max(whole.length - 1, 0)
          const fails = end !== 'ends' && !(end === 'is too long' && whole.length === 0)
          if (fails) {
            const error = await reasonOf(pools.collect(source, options))
            if (end === 'is too long') t.is(error.code, 'ERR_POOL_SOURCE_TOO_LARGE')
            else if (end === 'is destroyed') t.is(error.code, 'ERR_STREAM_PREMATURE_CLOSE')
            else t.is(error, REASON)
          } else {
            using lease = await pools.collect(source, options)
            t.true(lease.buffer.equals(whole))
          }
        })
      )
      for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason
      t.is(liveBytes(pools), 0)
    }),
    { numRuns: 25 }
  )
})
