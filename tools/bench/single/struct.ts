/**
 * Records of a struct beside bare typed arrays at the same stride, and beside as many JavaScript objects. Each in a process of its
 * own, in turn; the best of the rounds of each.
 *
 *     node --expose-gc dist/tools/bench/single/struct.js [--records N] [--objects N] [--sorted N] [--processes N]
 */
import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { Heap } from 'spanheap'
import { f64, i32, struct, u8 } from 'spanheap/struct'
import { CollectionCounter, totalCount } from '../framework/collections.ts'

const ROUNDS = 15

const { values } = parseArgs({
  options: {
    records: { type: 'string', default: '1000' },
    objects: { type: 'string', default: '10000000' },
    sorted: { type: 'string', default: '1000000' },
    processes: { type: 'string', default: '3' },
    child: { type: 'string' },
  },
})

/** 40 bytes. */
const Order = struct({ id: f64, price: f64, total: f64, fee: f64, qty: i32, side: u8 }, { name: 'Order' })

const Other = struct({ a: i32, b: f64 }, { name: 'Other' })

/** Nanoseconds an access of the fastest round. The work is split in calls, so that V8 compiles it whole. */
function best(accesses: number, body: () => unknown): number {
  let fastest = Number.POSITIVE_INFINITY
  const calls = Math.ceil(20_000_000 / accesses / ROUNDS)
  for (let i = 0; i < 20; i++) body()
  for (let round = 0; round < ROUNDS; round++) {
    const start = process.hrtime.bigint()
    for (let i = 0; i < calls; i++) body()
    fastest = Math.min(fastest, Number(process.hrtime.bigint() - start) / calls / accesses)
  }
  return fastest
}

/**
 * Each way of an access: bare typed arrays at the same stride, a cursor of which `index` is set, one of which `move` is called, and
 * records of `at`. All loops have one shape, by index order and through a shuffled list of indices. Sums of doubles
 * start with one: from 0, Node 26 makes an object of each sum, which takes ten times as long as any access.
 */
function accesses(name: string, count: number): unknown {
  const heap = new Heap({ limitBytes: 2 ** 32 })
  useOthers(heap)
  const orders = Order.array(heap, count)
  const cursor = orders.cursor()
  const one = Order.alloc(heap)
  const { buffer } = heap.view(orders.address)
  const f = new Float64Array(buffer, orders.address, count * 5)
  const n = new Int32Array(buffer, orders.address, count * 10)
  const g = new Float64Array(buffer, one.address, 5)
  const shuffled = shuffledIndices(count)
  const bodies: Record<string, () => unknown> = {
    'f64 read in order bare': () => {
      let sum = 0.5
      for (let i = 0; i < count; i++) sum += f[i * 5 + 1]!
      return sum
    },
    'f64 read in order cursor': () => {
      let sum = 0.5
      for (let i = 0; i < count; i++) {
        cursor.index = i
        sum += cursor.price
      }
      return sum
    },
    'f64 read in order move': () => {
      let sum = 0.5
      for (let i = 0; i < count; i++) sum += cursor.move(i).price
      return sum
    },
    'f64 read in order at': () => {
      let sum = 0.5
      for (let i = 0; i < count; i++) sum += orders.at(i).price
      return sum
    },
    'f64 read shuffled bare': () => {
      let sum = 0.5
      for (let i = 0; i < count; i++) sum += f[shuffled[i]! * 5 + 1]!
      return sum
    },
    'f64 read shuffled cursor': () => {
      let sum = 0.5
      for (let i = 0; i < count; i++) {
        cursor.index = shuffled[i]!
        sum += cursor.price
      }
      return sum
    },
    'f64 read shuffled move': () => {
      let sum = 0.5
      for (let i = 0; i < count; i++) sum += cursor.move(shuffled[i]!).price
      return sum
    },
    'f64 read shuffled at': () => {
      let sum = 0.5
      for (let i = 0; i < count; i++) sum += orders.at(shuffled[i]!).price
      return sum
    },
    'f64 write in order bare': () => {
      for (let i = 0; i < count; i++) f[i * 5 + 1] = i + 0.5
    },
    'f64 write in order cursor': () => {
      for (let i = 0; i < count; i++) {
        cursor.index = i
        cursor.price = i + 0.5
      }
    },
    'f64 write in order move': () => {
      for (let i = 0; i < count; i++) cursor.move(i).price = i + 0.5
    },
    'f64 write in order at': () => {
      for (let i = 0; i < count; i++) orders.at(i).price = i + 0.5
    },
    'f64 write shuffled bare': () => {
      for (let i = 0; i < count; i++) f[shuffled[i]! * 5 + 1] = i + 0.5
    },
    'f64 write shuffled cursor': () => {
      for (let i = 0; i < count; i++) {
        cursor.index = shuffled[i]!
        cursor.price = i + 0.5
      }
    },
    'f64 write shuffled move': () => {
      for (let i = 0; i < count; i++) cursor.move(shuffled[i]!).price = i + 0.5
    },
    'f64 write shuffled at': () => {
      for (let i = 0; i < count; i++) orders.at(shuffled[i]!).price = i + 0.5
    },
    'i32 read in order bare': () => {
      let sum = 0
      for (let i = 0; i < count; i++) sum = (sum + n[i * 10 + 8]!) | 0
      return sum
    },
    'i32 read in order cursor': () => {
      let sum = 0
      for (let i = 0; i < count; i++) {
        cursor.index = i
        sum = (sum + cursor.qty) | 0
      }
      return sum
    },
    'i32 read in order move': () => {
      let sum = 0
      for (let i = 0; i < count; i++) sum = (sum + cursor.move(i).qty) | 0
      return sum
    },
    'i32 read in order at': () => {
      let sum = 0
      for (let i = 0; i < count; i++) sum = (sum + orders.at(i).qty) | 0
      return sum
    },
    'i32 read shuffled bare': () => {
      let sum = 0
      for (let i = 0; i < count; i++) sum = (sum + n[shuffled[i]! * 10 + 8]!) | 0
      return sum
    },
    'i32 read shuffled cursor': () => {
      let sum = 0
      for (let i = 0; i < count; i++) {
        cursor.index = shuffled[i]!
        sum = (sum + cursor.qty) | 0
      }
      return sum
    },
    'i32 read shuffled move': () => {
      let sum = 0
      for (let i = 0; i < count; i++) sum = (sum + cursor.move(shuffled[i]!).qty) | 0
      return sum
    },
    'i32 read shuffled at': () => {
      let sum = 0
      for (let i = 0; i < count; i++) sum = (sum + orders.at(shuffled[i]!).qty) | 0
      return sum
    },
    'i32 write in order bare': () => {
      for (let i = 0; i < count; i++) n[i * 10 + 8] = i
    },
    'i32 write in order cursor': () => {
      for (let i = 0; i < count; i++) {
        cursor.index = i
        cursor.qty = i
      }
    },
    'i32 write in order move': () => {
      for (let i = 0; i < count; i++) cursor.move(i).qty = i
    },
    'i32 write in order at': () => {
      for (let i = 0; i < count; i++) orders.at(i).qty = i
    },
    'i32 write shuffled bare': () => {
      for (let i = 0; i < count; i++) n[shuffled[i]! * 10 + 8] = i
    },
    'i32 write shuffled cursor': () => {
      for (let i = 0; i < count; i++) {
        cursor.index = shuffled[i]!
        cursor.qty = i
      }
    },
    'i32 write shuffled move': () => {
      for (let i = 0; i < count; i++) cursor.move(shuffled[i]!).qty = i
    },
    'i32 write shuffled at': () => {
      for (let i = 0; i < count; i++) orders.at(shuffled[i]!).qty = i
    },
    'one record bare': () => {
      for (let i = 0; i < count; i++) g[1] = g[1]! + 1
      return g[1]
    },
    'one record record': () => {
      for (let i = 0; i < count; i++) one.price = one.price + 1
      return one.price
    },
  }
  return best(count, bodies[name]!)
}

/**
 * What a program has behind it in which an access is to be fast: a struct of another shape was used in the same ways, a record and an
 * array were freed, and so V8 can't count on there being one of each.
 */
function useOthers(heap: Heap): void {
  const other = Other.array(heap, 10)
  const cursor = other.cursor()
  for (let i = 0; i < 10_000; i++) {
    cursor.move(i % 10).a = i
    cursor.index = i % 10
    other.at(i % 10).b = cursor.a
  }
  other.free()
  Other.alloc(heap).free()
  Order.array(heap, 10).free()
  Order.alloc(heap).free()
}

function shuffledIndices(count: number): Int32Array {
  const indices = new Int32Array(count).map((_, i) => i)
  let state = 1
  for (let i = count - 1; i > 0; i--) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    const j = state % (i + 1)
    const other = indices[j]!
    indices[j] = indices[i]!
    indices[i] = other
  }
  return indices
}

/** Garbage collections while a cursor moves so many times. */
async function collections(): Promise<number> {
  const heap = new Heap()
  const orders = Order.array(heap, 1000)
  const cursor = orders.cursor()
  const sum = () => {
    let all = 0
    for (let i = 0; i < 1000; i++) all += cursor.move(i).price
    return all
  }
  for (let i = 0; i < 1000; i++) sum()
  const counter = new CollectionCounter()
  for (let i = 0; i < 10_000; i++) sum()
  return totalCount(await counter.end())
}

function sums(name: string, count: number): unknown {
  const before = process.memoryUsage.rss()
  const sumOf = (body: () => number) => {
    let fastest = Number.POSITIVE_INFINITY
    for (let round = 0; round < 5; round++) {
      const start = process.hrtime.bigint()
      body()
      fastest = Math.min(fastest, Number(process.hrtime.bigint() - start) / count)
    }
    return { ns: fastest, bytes: (process.memoryUsage.rss() - before) / count }
  }
  if (name === 'sum objects') {
    const objects: { id: number; price: number; total: number; fee: number; qty: number; side: number }[] = []
    for (let i = 0; i < count; i++)
      objects.push({ id: i + 0.5, price: i + 0.25, total: i + 0.5, fee: 0.5, qty: i, side: 1 })
    return sumOf(() => {
      let sum = 0.5
      for (let i = 0; i < count; i++) sum += objects[i]!.price
      return sum
    })
  }
  const heap = new Heap()
  const cursor = name === 'sum columns' ? Order.columns(heap, count).cursor() : Order.array(heap, count).cursor()
  for (let i = 0; i < count; i++)
    cursor.move(i).assign({ id: i + 0.5, price: i + 0.25, total: i + 0.5, fee: 0.5, qty: i, side: 1 })
  return sumOf(() => {
    let sum = 0.5
    for (let i = 0; i < count; i++) sum += cursor.move(i).price
    return sum
  })
}

/** Nanoseconds a record to sort by a field, of the fastest of three sorts of other contents. */
function sorts(name: string, count: number): number {
  let state = 1
  const next = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 7
  }
  const time = (body: () => void) => {
    const start = process.hrtime.bigint()
    body()
    return Number(process.hrtime.bigint() - start) / count
  }
  const heap = new Heap()
  const orders = Order.array(heap, count)
  const cursor = orders.cursor()
  let fastest = Number.POSITIVE_INFINITY
  for (let round = 0; round < 3; round++) {
    if (name === 'sort objects') {
      const objects = Array.from({ length: count }, (_, i) => {
        const price = next()
        return { id: i + 0.5, price, total: i + 0.5, fee: 0.5, qty: i, side: 1 }
      })
      fastest = Math.min(
        fastest,
        time(() => objects.sort((a, b) => a.price - b.price))
      )
    } else {
      for (let i = 0; i < count; i++) cursor.move(i).assign({ id: i + 0.5, price: next(), qty: i })
      fastest = Math.min(
        fastest,
        time(() => orders.sort('price'))
      )
    }
  }
  return fastest
}

function child(name: string): unknown {
  const args = ['--max-old-space-size=8192', '--expose-gc', fileURLToPath(import.meta.url), '--child', name]
  const counts = ['--records', values.records, '--objects', values.objects, '--sorted', values.sorted]
  return JSON.parse(execFileSync(process.execPath, [...args, ...counts], { encoding: 'utf8' }))
}

const { child: name } = values
if (name !== undefined) {
  const result = name.startsWith('sum ')
    ? sums(name, Number(values.objects))
    : name.startsWith('sort ')
      ? sorts(name, Number(values.sorted))
      : name === 'collections'
        ? await collections()
        : accesses(name, Number(values.records))
  console.log(JSON.stringify(result))
} else {
  const times = new Map<string, number>()
  const kinds = ['f64 read', 'f64 write', 'i32 read', 'i32 write']
  const names = kinds.flatMap((what) =>
    ['in order', 'shuffled'].flatMap((order) =>
      ['bare', 'cursor', 'move', 'at'].map((way) => `${what} ${order} ${way}`)
    )
  )
  for (let i = 0; i < Number(values.processes); i++) {
    for (const key of [...names, 'one record bare', 'one record record'])
      times.set(key, Math.min(times.get(key) ?? Number.POSITIVE_INFINITY, child(key) as number))
  }
  for (const [key, ns] of times) {
    const bare = times.get(key.replace(/\w+$/, 'bare'))!
    console.log(`${key.padEnd(26)} ${ns.toFixed(2).padStart(6)} ns  ${(ns / bare).toFixed(2)}`)
  }
  console.log(`collections in 10 million moves of a cursor: ${child('collections')}`)
  const ways = ['objects', 'records', 'columns']
  const summed = new Map<string, { ns: number; bytes: number }>()
  for (let i = 0; i < Number(values.processes); i++) {
    for (const way of ways) {
      const { ns, bytes } = child(`sum ${way}`) as { ns: number; bytes: number }
      summed.set(way, { ns: Math.min(summed.get(way)?.ns ?? Number.POSITIVE_INFINITY, ns), bytes })
    }
  }
  const objects = summed.get('objects')!
  for (const [way, { ns, bytes }] of summed) {
    const ratio = `${(objects.ns / ns).toFixed(1)} times as fast, ${(bytes / objects.bytes).toFixed(2)} of the memory`
    console.log(`a field of ${values.objects} ${way}: ${ns.toFixed(2)} ns, ${bytes.toFixed(1)} bytes each: ${ratio}`)
  }
  const sorted = { objects: child('sort objects') as number, records: child('sort records') as number }
  for (const [key, ns] of Object.entries(sorted))
    console.log(`${values.sorted} ${key} sorted by an f64: ${ns.toFixed(0)} ns each`)
}
