// What a program's own tests do with the library, as Jest and vitest run them: both have `describe`, `test` and `expect` as globals.
import { once } from 'node:events'
import { createReadStream } from 'node:fs'
import { open, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough, Readable } from 'node:stream'
import { setTimeout } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { isDeepStrictEqual, types } from 'node:util'
import vm from 'node:vm'
import { isMainThread, MessageChannel, receiveMessageOnPort, Worker } from 'node:worker_threads'
import { BufferPool, Heap, PoolSet } from 'spanheap'
import { DirectHeap } from 'spanheap/direct'
import { FreeListHeap } from 'spanheap/freelist'
import { GoHeap } from 'spanheap/go'
import { array, bool, bytes, f64, i32, pointer, struct, text, u64 } from 'spanheap/struct'
import { SimulatedMapper } from 'spanheap/testing'

/** Classes of a realm that is neither this one nor the library's. */
const other = vm.runInContext('({ Uint8Array, Float64Array, DataView })', vm.createContext({}))
/** Classes of the realm that Node itself runs in: this one, where tests run in no context of their own. */
const outer = vm.runInThisContext('({ Uint8Array, Float64Array, DataView })')
const realms = { own: { Uint8Array, Float64Array, DataView }, outer, other }

const place = [
  outer.DataView === DataView ? 'the main realm' : 'a realm of its own',
  isMainThread ? 'the main thread' : 'a worker',
  typeof window === 'object' ? 'jsdom' : 'node',
]

let made = 0

/** An array of records of which the first is another each time. */
function numbers() {
  const array = struct({ n: f64 }).array(new Heap(), 1000)
  array.at(0).n = ++made
  return array
}

/** Makers of objects that assertions compare. */
const MAKERS = {
  heap: () => new Heap(),
  pool: () => new BufferPool({ size: 100 }),
  set: () => new PoolSet(),
  go: () => new GoHeap(),
  list: () => new FreeListHeap(),
  direct: () => new DirectHeap(),
  mapper: () => new SimulatedMapper(),
  token: () => new Heap().share(),
  block: () => new Heap().block(10),
  array: () => numbers(),
  column: () => numbers().column('n'),
}

/** What a call throws: an error's class is of one realm, its code of all. */
function codeOf(call) {
  try {
    call()
  } catch (error) {
    return error.code
  }
  return 'nothing was thrown'
}

/** Whether there is nothing but zeros. By index: a view whose buffer was detached has length 0, and no methods that work. */
function isZero(view) {
  for (let i = 0; i < view.length; i++) if (view[i] !== 0) return false
  return true
}

describe(place.join(', '), () => {
  const heap = new Heap({ leaks: 'off' })
  const pool = new BufferPool({ heap, size: 100, max: 4, leaks: 'off' })
  const Order = struct(
    { id: u64, price: f64, side: bool, symbol: text(12), key: bytes(4), steps: array(i32, 3), next: pointer('Order') },
    { name: 'Order' }
  )
  const values = { id: 7n, price: 2.5, side: true, symbol: 'ÄBC', key: new Uint8Array([1, 2]), steps: [1, 2, 3] }

  afterAll(() => {
    pool.close()
    heap.audit()
    expect(heap.stats().liveBytes).toBe(0)
    heap.close()
  })

  test('memory comes from the system', () => {
    expect(heap.stats().system).toBe('native')
    expect(codeOf(() => heap.free(1))).toBe('ERR_HEAP_INVALID_ADDRESS')
  })

  test('a system that refuses is simulated', () => {
    const mapper = new SimulatedMapper({ limitBytes: 2 ** 20 })
    expect(codeOf(() => new Heap({ limitBytes: 2 ** 24, mapper }).malloc(2 ** 23))).toBe('ERR_HEAP_OUT_OF_MEMORY')
  })

  test('tokens are attached, also those that were cloned', () => {
    const { port1, port2 } = new MessageChannel()
    port1.postMessage({ heapToken: heap.share(), poolToken: pool.share() })
    const { heapToken, poolToken } = receiveMessageOnPort(port2).message
    port1.close()
    expect(types.isSharedArrayBuffer(heap.buffer)).toBe(true)
    const attached = Heap.attach(heapToken)
    const address = attached.addressOf(attached.allocBuffer(100))
    heap.free(address)
    const lender = BufferPool.attach(poolToken, { heap: attached })
    lender.release(lender.acquire())
    lender.close()
    attached.close()
  })

  test('a worker has the same heap', async () => {
    const script = fileURLToPath(import.meta.url).replace('spanheap.test.mjs', 'worker.mjs')
    const [address] = await once(new Worker(script, { workerData: heap.share() }), 'message')
    expect(heap.bufferAt(address, 13).toString()).toBe('from a worker')
    heap.free(address)
  })

  describe('buffers', () => {
    test('are Buffers, as Node has them', () => {
      const buffer = heap.allocBuffer(50)
      const ordinary = Buffer.alloc(50)
      expect(Buffer.isBuffer(buffer)).toBe(true)
      expect(ArrayBuffer.isView(buffer)).toBe(true)
      expect(types.isUint8Array(buffer)).toBe(true)
      expect(buffer instanceof Uint8Array).toBe(ordinary instanceof Uint8Array)
      expect(Object.getPrototypeOf(buffer)).toBe(Object.getPrototypeOf(ordinary))
      expect(Object.prototype.toString.call(buffer)).toBe('[object Uint8Array]')
      heap.freeBuffer(buffer)
    })

    test('are written, read, searched and compared', () => {
      const buffer = heap.allocBuffer(20, { zero: true })
      expect(buffer.write('grüße', 2)).toBe(7)
      buffer.writeDoubleBE(Math.PI, 10)
      expect(buffer.toString('utf8', 2, 9)).toBe('grüße')
      expect(buffer.readDoubleBE(10)).toBe(Math.PI)
      expect(buffer.indexOf('ße')).toBe(6)
      expect(Buffer.from(buffer).equals(buffer)).toBe(true)
      expect(isDeepStrictEqual(Buffer.from(buffer), buffer)).toBe(true)
      expect([...buffer]).toEqual([...Buffer.concat([buffer])])
      heap.freeBuffer(buffer)
    })

    test('are parted, and mapped to Buffers', () => {
      const buffer = heap.allocBuffer(8)
      buffer.set([1, 2, 3, 4, 5, 6, 7, 8])
      const part = buffer.subarray(2, 4)
      expect(Buffer.isBuffer(part)).toBe(true)
      expect([...part]).toEqual([3, 4])
      expect(Buffer.isBuffer(buffer.map((byte) => byte + 1))).toBe(true)
      heap.freeBuffer(buffer)
    })

    test('are zeroed and aligned', () => {
      const buffer = heap.allocBuffer(300, { zero: true, alignment: 4096 })
      expect(isZero(buffer)).toBe(true)
      expect(heap.addressOf(buffer) % 4096).toBe(0)
      heap.freeBuffer(buffer)
    })

    test('are freed once', () => {
      const buffer = heap.allocBuffer(50)
      heap.freeBuffer(buffer)
      expect(codeOf(() => heap.freeBuffer(buffer))).toBe('ERR_HEAP_DOUBLE_FREE')
    })

    test("aren't freed by what is none, or another's", () => {
      expect(codeOf(() => heap.freeBuffer(Buffer.alloc(10)))).toBe('ERR_HEAP_INVALID_ADDRESS')
      for (const value of [{}, [1], 'text', null, new ArrayBuffer(8)])
        expect(codeOf(() => heap.freeBuffer(value))).toBe('ERR_INVALID_ARG_TYPE')
    })

    for (const [name, classes] of Object.entries(realms)) {
      test(`are freed by views of the ${name} realm`, () => {
        for (const View of Object.values(classes)) {
          const { buffer, byteOffset } = heap.allocBuffer(48)
          heap.freeBuffer(new View(buffer, byteOffset, 6))
        }
      })

      test(`arrays are of a class of the ${name} realm`, () => {
        const numbers = heap.allocArray(classes.Float64Array, 4, { zero: true })
        expect(Object.getPrototypeOf(numbers)).toBe(classes.Float64Array.prototype)
        numbers[3] = 1.5
        expect([...numbers]).toEqual([0, 0, 0, 1.5])
        heap.freeBuffer(numbers)
        expect(codeOf(() => heap.freeBuffer(numbers))).toBe('ERR_HEAP_DOUBLE_FREE')
      })

      test(`classes of the ${name} realm are extended`, () => {
        class Samples extends classes.Float64Array {}
        const samples = heap.allocArray(Samples, 3)
        expect(samples instanceof Samples).toBe(true)
        heap.freeBuffer(samples)
      })

      test(`classes of the ${name} realm that are no arrays' are refused`, () => {
        expect(codeOf(() => heap.allocArray(classes.DataView, 4))).toBe('ERR_INVALID_ARG_TYPE')
        expect(codeOf(() => heap.allocArray(Object.getPrototypeOf(classes.Uint8Array), 4))).toBe('ERR_INVALID_ARG_TYPE')
      })
    }

    test('blocks, arenas and handles show arrays of another realm', () => {
      const block = heap.block(16)
      expect(block.as(other.Float64Array).length).toBe(2)
      block.free()
      const arena = heap.arena()
      expect(arena.allocArray(other.Float64Array, 5).length).toBe(5)
      arena.dispose()
      const handles = heap.handles()
      const handle = handles.alloc(10)
      expect(types.isUint8Array(handles.view(handle))).toBe(true)
      handles.close()
    })
  })

  describe('closed heaps', () => {
    const TYPES = { heap: Heap, direct: DirectHeap, freelist: FreeListHeap, go: GoHeap }
    for (const [name, Type] of Object.entries(TYPES)) {
      test(`views of a ${name} heap read zeros, or nothing`, () => {
        const closed = new Type({ limitBytes: 2 ** 24 })
        const view = closed.view(closed.malloc(100), 100).fill(7)
        const before = view.length
        expect([...view]).toEqual(Array(100).fill(7))
        closed.close()
        expect([0, before]).toContain(view.length)
        expect(isZero(view)).toBe(true)
        expect(codeOf(() => closed.malloc(1))).toBe('ERR_HEAP_CLOSED')
      })
    }

    test('buffers, arrays and records of one read zeros, or nothing', () => {
      const closed = new Heap()
      const views = [
        closed.allocBuffer(5000),
        closed.allocArray(Int32Array, 100),
        closed.allocArray(other.Uint8Array, 9),
      ]
      for (const view of views) view.fill(7)
      const record = Order.alloc(closed, values)
      closed.close()
      for (const view of views) expect(isZero(view)).toBe(true)
      expect(codeOf(() => record.price)).toBe('ERR_HEAP_CLOSED')
      expect(codeOf(() => closed.freeBuffer(views[0]))).toBe('ERR_HEAP_CLOSED')
    })
  })

  describe('pools', () => {
    test('lend Buffers, and take them back once', () => {
      const buffer = pool.acquire()
      expect(Buffer.isBuffer(buffer)).toBe(true)
      expect(buffer.length).toBe(100)
      pool.release(buffer)
      expect(codeOf(() => pool.release(buffer))).toBe('ERR_POOL_DOUBLE_RELEASE')
    })

    test('take back views of all realms, and none of other memory', () => {
      for (const classes of Object.values(realms)) {
        const { buffer, byteOffset, length } = pool.acquire()
        pool.release(new classes.Uint8Array(buffer, byteOffset, length))
        expect(codeOf(() => pool.release(new classes.Uint8Array(100)))).toBe('ERR_POOL_FOREIGN_BUFFER')
      }
      expect(codeOf(() => pool.release({}))).toBe('ERR_INVALID_ARG_TYPE')
    })

    test('are exhausted, and wait', async () => {
      const all = [pool.acquire(), pool.acquire(), pool.acquire(), pool.acquire()]
      expect(codeOf(() => pool.acquire())).toBe('ERR_POOL_EXHAUSTED')
      const next = pool.acquireAsync()
      pool.release(all.pop())
      all.push(await next)
      for (const buffer of all) pool.release(buffer)
    })

    test('stop waiting by a signal of this environment, and of Node', async () => {
      const all = [pool.acquire(), pool.acquire(), pool.acquire(), pool.acquire()]
      for (const Controller of [AbortController, vm.runInThisContext('AbortController')]) {
        const controller = new Controller()
        const next = pool.acquireAsync({ signal: controller.signal })
        controller.abort(new Error('no more'))
        await expect(next).rejects.toThrow('no more')
        expect(await pool.acquireAsync({ signal: controller.signal }).catch(({ message }) => message)).toBe('no more')
      }
      expect(await pool.acquireAsync({ signal: {} }).catch(({ code }) => code)).toBe('ERR_INVALID_ARG_TYPE')
      for (const buffer of all) pool.release(buffer)
    })

    test('lease', async () => {
      const lease = pool.lease()
      expect(Buffer.isBuffer(lease.buffer)).toBe(true)
      lease.retain().release()
      expect(await lease.during(vm.runInContext('Promise.resolve(5)', vm.createContext({})))).toBe(5)
      lease.release()
      expect(codeOf(() => lease.buffer)).toBe('ERR_HEAP_STALE_HANDLE')
    })

    test('give back what nobody needs for a while, by a timer that holds nothing open', async () => {
      const idle = new BufferPool({ heap, size: 1000, trimMs: 5 })
      const held = [idle.acquire(), idle.acquire()]
      for (const buffer of held) idle.release(buffer)
      for (let i = 0; idle.stats().idle > 0 && i < 400; i++) await setTimeout(5)
      expect(idle.stats().idle).toBe(0)
      idle.close()
    })

    for (const [name, { Uint8Array: Bytes }] of Object.entries(realms)) {
      test(`write and read bytes of the ${name} realm`, async () => {
        const through = new PassThrough()
        await pool.write(
          through,
          Bytes.from({ length: 150 }, (_, i) => i)
        )
        through.end()
        const read = []
        for await (const chunk of pool.read(through)) read.push(...chunk)
        expect(read).toEqual(Array.from({ length: 150 }, (_, i) => i))
        for await (const chunk of pool.read(Readable.from([new Bytes([1, 2])]))) expect([...chunk]).toEqual([1, 2])
      })
    }

    test('read no text', async () => {
      const reading = pool.read(Readable.from(['text'])).next()
      expect(await reading.catch(({ code }) => code)).toBe('ERR_INVALID_ARG_TYPE')
    })

    test('write files, and read them', async () => {
      const path = join(tmpdir(), `spanheap-${process.pid}-${Math.random()}`)
      const file = await open(path, 'w+')
      const buffer = pool.acquire().fill('spanheap')
      await pool.write(file, buffer, { position: 0 })
      pool.release(buffer)
      let read = ''
      for await (const chunk of pool.read(file, { start: 0 })) read += chunk.toString()
      await file.close()
      for await (const chunk of pool.read(createReadStream(path))) expect(chunk.toString()).toBe(read)
      await rm(path)
      expect(read).toBe('spanheap'.repeat(13).slice(0, 100))
    })

    test('serve sockets', async () => {
      const closed = []
      const server = pool.createServer(async (socket) => {
        closed.push(once(socket, 'close'))
        for await (const chunk of pool.read(socket)) await pool.write(socket, chunk)
        socket.end()
      })
      await once(server.listen(0, '127.0.0.1'), 'listening')
      const socket = pool.connect({ port: server.address().port, host: '127.0.0.1' })
      closed.push(once(server, 'close'), once(socket, 'close'))
      await pool.write(socket, Buffer.from('to and fro'))
      socket.end()
      let answer = ''
      for await (const chunk of pool.read(socket)) answer += chunk.toString()
      expect(answer).toBe('to and fro')
      server.close()
      await Promise.all(closed)
    })

    test('of several sizes', () => {
      const set = new PoolSet({ heap, sizes: [64, 1024] })
      const buffer = set.acquire(500)
      expect(buffer.length).toBe(1024)
      set.release(buffer)
      set.close()
    })

    test('that are closed lend nothing', () => {
      const closed = new BufferPool({ size: 10 })
      const buffer = closed.acquire().fill(7)
      closed.release(buffer)
      closed.close()
      expect(codeOf(() => closed.acquire())).toBe('ERR_POOL_CLOSED')
      expect(isZero(buffer)).toBe(true)
    })
  })

  describe('structs', () => {
    test('hold numbers, text, bytes and arrays', () => {
      const order = Order.alloc(heap, values)
      expect([order.id, order.price, order.side, order.symbol]).toEqual([7n, 2.5, true, 'ÄBC'])
      expect([...order.key]).toEqual([1, 2, 0, 0])
      expect([...order.steps]).toEqual([1, 2, 3])
      order.free()
      expect(codeOf(() => order.price)).toBe('ERR_HEAP_STALE_HANDLE')
    })

    test('take bytes of all realms, and nothing else', () => {
      const order = Order.alloc(heap)
      for (const { Uint8Array: Bytes, Float64Array: Numbers } of Object.values(realms)) {
        order.key = new Bytes([3, 4, 5])
        expect([...order.key]).toEqual([3, 4, 5, 0])
        for (const wrong of [new Numbers(1), [1], 'text'])
          expect(codeOf(() => Object.assign(order, { key: wrong }))).toBe('ERR_INVALID_ARG_TYPE')
      }
      order.free()
    })

    test('give bytes as views, and text as text', () => {
      const order = Order.alloc(heap, values)
      expect(types.isUint8Array(order.key)).toBe(true)
      order.key[3] = 9
      expect(order.key[3]).toBe(9)
      order.symbol = 'z'
      expect(order.symbol).toBe('z')
      expect(codeOf(() => Object.assign(order, { symbol: 'far too long a text' }))).toBe('ERR_OUT_OF_RANGE')
      order.free()
    })

    test('are data as JSON', () => {
      const order = Order.alloc(heap, values)
      expect(JSON.parse(JSON.stringify(order))).toEqual({
        ...{ id: '7', price: 2.5, side: true, symbol: 'ÄBC', key: '01020000', steps: [1, 2, 3], next: 0 },
      })
      order.free()
    })

    test('are equal to those of the same fields', () => {
      const [one, same, other] = [Order.alloc(heap, values), Order.alloc(heap, values), Order.alloc(heap, { price: 3 })]
      expect(one).toEqual(same)
      expect(one).toStrictEqual(same)
      expect(one).not.toEqual(other)
      expect(() => expect(one).toEqual(other)).toThrow(/ÄBC/)
      for (const order of [one, same, other]) order.free()
    })

    test('lead to each other', () => {
      const [first, second] = [Order.alloc(heap, values), Order.alloc(heap, { ...values, price: 3 })]
      first.next = second.address
      expect(first.deref('next').price).toBe(3)
      for (const order of [first, second]) order.free()
    })

    test('are sorted in arrays, by numbers and bigints', () => {
      const orders = Order.array(heap, 500)
      for (let i = 0; i < orders.length; i++) orders.at(i).assign({ price: (i * 7) % 500, id: BigInt((i * 11) % 500) })
      expect(orders.sort('price').at(499).price).toBe(499)
      expect(orders.sort('id', 'descending').at(0).id).toBe(499n)
      orders.free()
    })

    test('are equal to themselves alone, as heaps and pools are, and what says so is short', () => {
      for (const make of Object.values(MAKERS)) {
        const [one, other] = [make(), make()]
        expect(one).toEqual(one)
        let message = ''
        try {
          expect(one).toEqual(other)
        } catch (error) {
          message = error.message
        }
        expect(message).not.toBe('')
        expect(message.length).toBeLessThan(4096)
      }
    })

    test('are columns', () => {
      const columns = Order.columns(heap, 100)
      const prices = columns.column('price')
      expect(types.isFloat64Array(prices)).toBe(true)
      prices.fill(1.5)
      expect(columns.cursor().price).toBe(1.5)
      columns.free()
    })
  })
})
