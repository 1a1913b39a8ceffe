import { once } from 'node:events'
import { createServer, get, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { PassThrough, Writable } from 'node:stream'
import test from 'ava'
import fc from 'fast-check'
import { AllocatorError, Heap, type Lease } from '../../lib/index.ts'
import { collectGarbage } from '../support/garbage.ts'

const LIMIT_BYTES = 2 ** 28
const STALE = { instanceOf: AllocatorError, code: 'ERR_HEAP_STALE_HANDLE' }

for (const debug of [false, true]) {
  const mode = debug ? ', in debug mode' : ''
  const open = () => new Heap({ limitBytes: LIMIT_BYTES, debug, leaks: 'off' })

  test(`a lease’s buffer is as long as was asked, whatever its block${mode}`, (t) => {
    using heap = open()
    for (const size of [0, 1, 15, 16, 17, 1000, 1025, 8192, 100_000, 262_145, 3_000_001]) {
      const lease = heap.lease(size)
      t.is(lease.buffer.length, size)
      t.is(lease.buffer, lease.buffer)
      lease.buffer.fill(7)
      lease.release()
    }
    heap.audit()
    t.is(heap.stats().liveBytes, 0)
  })

  test(`options of a lease${mode}`, (t) => {
    using heap = open()
    heap.lease(4999).buffer.fill(7)
    using lease = heap.lease(5000, { zero: true, alignment: 256, tag: 'mine' })
    t.true(lease.buffer.every((byte) => byte === 0))
    t.is(heap.addressOf(lease.buffer) % 256, 0)
    const owners = heap.stats({ detail: true }).owners
    t.deepEqual(
      owners.map(({ tag, buffers, bytes }) => [tag, buffers, bytes]),
      [
        ['mine', 1, 5000],
        [undefined, 1, 4999],
      ]
    )
    for (const size of [-1, 1.5, Number.NaN, 2 ** 53]) t.throws(() => heap.lease(size), { code: 'ERR_OUT_OF_RANGE' })
    for (const options of [{ tag: 7 }, { zero: 'yes' }, { alignment: '16' }, null, { isolated: true }])
      t.throws(() => heap.lease(5, options as never), { instanceOf: TypeError })
    t.throws(() => heap.lease(5, { alignment: 3 }), { code: 'ERR_OUT_OF_RANGE' })
  })

  test(`no call but the lease’s own ends its block${mode}`, (t) => {
    using heap = open()
    const lease = heap.lease(1000)
    const { buffer } = lease
    const address = heap.addressOf(buffer)
    for (const call of [
      () => heap.free(address),
      () => heap.realloc(address, 5000),
      () => heap.freeBuffer(buffer),
      () => heap.pass(buffer),
    ])
      t.throws(call, { instanceOf: AllocatorError, code: 'ERR_HEAP_INVALID_ADDRESS' })
    buffer.fill(1)
    lease.retain()
    lease.release()
    t.is(buffer[999], 1)
    lease.release()
    t.throws(() => lease.release(), { code: 'ERR_POOL_DOUBLE_RELEASE' })
    t.throws(() => lease.buffer, STALE)
    t.is(heap.stats().liveBytes, 0)
  })

  test(`pass: the lease ends, and another begins where it is adopted, once${mode}`, (t) => {
    using heap = open()
    const lease = heap.lease(1001)
    lease.buffer.fill(9)
    lease.retain()
    t.throws(() => lease.pass(), { code: 'ERR_POOL_LEASED' })
    lease.release()
    const letGo = lease.hold()
    t.throws(() => lease.pass(), { code: 'ERR_POOL_LEASED' })
    letGo()
    const passed = structuredClone(lease.pass())
    t.is(lease.references, 0)
    for (const call of [() => lease.buffer, () => lease.pass()]) t.throws(call, STALE)
    const other = heap.adoptLease(passed)
    t.deepEqual([other.buffer.length, other.buffer[1000]], [1001, 9])
    t.throws(() => heap.adoptLease(passed), STALE)
    t.throws(() => heap.adopt(passed), STALE)
    const buffer = heap.adopt(other.pass())
    t.deepEqual([buffer.length, buffer[1000]], [1001, 9])
    heap.freeBuffer(buffer)
    t.is(heap.stats().liveBytes, 0)
  })

  test(`random use against a model${mode}`, (t) => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(5), fc.nat(1000), fc.nat(70_000)), { maxLength: 120 }), (steps) => {
        using heap = open()
        const out: { lease: Lease; users: number; byte: number; holds: (() => void)[] }[] = []
        for (const [call, which, size] of steps) {
          const at = which % Math.max(out.length, 1)
          const one = out[at]
          if (call === 0 || one === undefined) {
            const lease = heap.lease(size)
            lease.buffer.fill(which)
            out.push({ lease, users: 1, byte: which & 255, holds: [] })
            continue
          }
          const { lease, holds } = one
          t.is(lease.references, one.users + holds.length)
          t.true(lease.buffer.length === 0 || (lease.buffer[0] === one.byte && lease.buffer.at(-1) === one.byte))
          if (call === 1) {
            lease.retain()
            one.users++
          } else if (call === 2) {
            if (one.users > 0) {
              lease.release()
              one.users--
            } else t.throws(() => lease.release(), { code: 'ERR_POOL_DOUBLE_RELEASE' })
          } else if (call === 3) holds.push(lease.hold())
          else if (call === 4) holds.pop()?.()
          else if (one.users + holds.length === 1) {
            one.lease = heap.adoptLease(lease.pass())
            one.users = 1
            holds.length = 0
          } else t.throws(() => lease.pass(), { code: 'ERR_POOL_LEASED' })
          if (one.users + holds.length === 0) {
            t.throws(() => lease.buffer, STALE)
            out.splice(at, 1)
          }
        }
        const bytes = out.reduce((sum, { lease }) => sum + heap.usableSize(heap.addressOf(lease.buffer)), 0)
        if (!debug && out.every(({ lease }) => lease.buffer.length > 0)) t.is(heap.stats().liveBytes, bytes)
        for (const { lease, users, holds } of out) {
          for (const letGo of holds) letGo()
          for (let i = 0; i < users; i++) lease.release()
        }
        heap.audit()
        t.is(heap.stats().liveBytes, 0)
      }),
      { numRuns: debug ? 15 : 40 }
    )
  })
}

test('a closed heap: leases end without it, and none can be had', (t) => {
  const heap = new Heap({ limitBytes: LIMIT_BYTES })
  const lease = heap.lease(100)
  const other = heap.lease(100)
  heap.close()
  t.throws(() => heap.lease(100), { code: 'ERR_HEAP_CLOSED' })
  t.throws(() => other.pass(), { code: 'ERR_HEAP_CLOSED' })
  t.is(other.references, 1)
  lease.release()
  t.is(lease.references, 0)
})

test('writeTo: the buffer goes back when the target has consumed it', async (t) => {
  using heap = new Heap({ limitBytes: LIMIT_BYTES })
  const chunks: Buffer[] = []
  let done = () => {}
  const target = new Writable({
    write(chunk: Buffer, _, callback) {
      chunks.push(chunk)
      done = callback
    },
  })
  {
    using lease = heap.lease(1000)
    lease.buffer.fill('a')
    const written = lease.writeTo(target)
    t.is(lease.references, 1, 'the write alone has it')
    done()
    await written
    t.is(lease.references, 0)
  }
  t.is(`${chunks}`, 'a'.repeat(1000))
  t.is(heap.stats().liveBytes, 0)

  const lease = heap.lease(10)
  await t.throwsAsync(lease.writeTo(7 as never), { instanceOf: TypeError })
  await t.throwsAsync(lease.writeTo(target, { at: 7 } as never), { instanceOf: TypeError })
  t.is(lease.references, 1, 'nothing is released for wrong arguments')
  const destroyed = new PassThrough()
  destroyed.destroy()
  await t.throwsAsync(lease.writeTo(destroyed))
  t.is(lease.references, 0)
  await t.throwsAsync(lease.writeTo(target), STALE)
})

test('end: a response gets its length and the bytes, and the buffer goes back', async (t) => {
  using heap = new Heap({ limitBytes: LIMIT_BYTES })
  const answers: ((response: ServerResponse) => Promise<void>)[] = []
  const done: Promise<void>[] = []
  const server = createServer((_, response) => void done.push(answers.shift()!(response)))
  await once(server.listen(0, '127.0.0.1'), 'listening')
  t.teardown(() => server.close())
  const ask = async (method = 'GET') => {
    const { port } = server.address() as AddressInfo
    const request = get({ port, host: '127.0.0.1', method, agent: false })
    const [response] = (await once(request, 'response')) as [IncomingMessage]
    let text = ''
    for await (const chunk of response) text += chunk
    return { text, headers: response.headers }
  }
  const leased = (text: string) => {
    const lease = heap.lease(text.length)
    lease.buffer.write(text)
    return lease
  }
  answers.push((response) => leased('hello').end(response))
  const plain = await ask()
  t.deepEqual([plain.text, plain.headers['content-length']], ['hello', '5'])

  answers.push((response) => {
    response.writeHead(200, { 'Content-Type': 'text/plain' }).write('first ')
    return leased('then').end(response)
  })
  const chunked = await ask()
  t.deepEqual([chunked.text, chunked.headers['transfer-encoding']], ['first then', 'chunked'])

  answers.push((response) => leased('head').end(response))
  const head = await ask('HEAD')
  t.deepEqual([head.text, head.headers['content-length']], ['', '4'])

  answers.push((response) => {
    response.statusCode = 204
    return leased('none').end(response)
  })
  t.is((await ask()).text, '')
  await Promise.allSettled(done)
  t.is(heap.stats().liveBytes, 0)
})

test('a lease that is dropped is reported, unless its buffer is still in use', async (t) => {
  const heap = new Heap({ limitBytes: LIMIT_BYTES, leaks: 'all' })
  const { subscribe, unsubscribe } = await import('node:diagnostics_channel')
  const reports: { kind: string; bytes: number; tag?: string }[] = []
  const listen = (report: unknown) => void reports.push(report as { kind: string; bytes: number })
  subscribe('spanheap:leak', listen)
  t.teardown(() => unsubscribe('spanheap:leak', listen))
  let { buffer } = heap.lease(4321, { tag: 'kept' })
  ;(() => heap.lease(1234, { tag: 'lost' }).buffer.fill(1))()
  heap.lease(77).release()
  await collectGarbage()
  const ours = () => reports.filter(({ bytes }) => [4321, 1234, 77].includes(bytes))
  t.deepEqual(
    ours().map(({ kind, bytes, tag }) => ({ kind, bytes, tag })),
    [{ kind: 'lease', bytes: 1234, tag: 'lost' }]
  )
  t.is(buffer.length, 4321)
  buffer = Buffer.alloc(0)
  await collectGarbage()
  t.is(ours().length, 2)
  heap.close()
})
