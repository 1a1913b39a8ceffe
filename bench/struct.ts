/**
 * Records of a struct beside bare typed arrays at the same stride, and beside as many JavaScript objects. Each in a process of its
 * own, in turn; the best of the rounds of each.
 *
 *     node --expose-gc dist/bench/struct.js [--records N] [--objects N] [--processes N]
 */
import { execFileSync } from 'node:child_process'
import { PerformanceObserver } from 'node:perf_hooks'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { f64, Heap, i32, struct, u8 } from '../lib/index.ts'

const ROUNDS = 15

const { values } = parseArgs({
  options: {
    records: { type: 'string', default: '1000' },
    objects: { type: 'string', default: '10000000' },
    processes: { type: 'string', default: '3' },
    child: { type: 'string' },
  },
})

/** 40 bytes. */
const Order = struct({ id: f64, price: f64, total: f64, fee: f64, qty: i32, side: u8 }, { name: 'Order' })

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

function accesses(name: string, count: number): unknown {
  const heap = new Heap({ limitBytes: 2 ** 32 })
  const orders = Order.array(heap, count)
  const cursor = orders.cursor()
  const one = Order.alloc(heap)
  const f = new Float64Array(heap.buffer, orders.address, count * 5)
  const n = new Int32Array(heap.buffer, orders.address, count * 10)
  const g = new Float64Array(heap.buffer, one.address, 5)
  const bodies: Record<string, () => unknown> = {
    'f64 read bare': () => {
      let sum = 0
      for (let i = 0; i < count; i++) sum += f[i * 5 + 1]!
      return sum
    },
    'f64 read cursor': () => {
      let sum = 0
      for (let i = 0; i < count; i++) sum += cursor.move(i).price
      return sum
    },
    'f64 read index': () => {
      let sum = 0
      for (let i = 0; i < count; i++) sum += orders.at(i).price
      return sum
    },
    'f64 write bare': () => {
      for (let i = 0; i < count; i++) f[i * 5 + 1] = i + 0.5
    },
    'f64 write cursor': () => {
      for (let i = 0; i < count; i++) cursor.move(i).price = i + 0.5
    },
    'f64 write index': () => {
      for (let i = 0; i < count; i++) orders.at(i).price = i + 0.5
    },
    'i32 read bare': () => {
      let sum = 0
      for (let i = 0; i < count; i++) sum = (sum + n[i * 10 + 8]!) | 0
      return sum
    },
    'i32 read cursor': () => {
      let sum = 0
      for (let i = 0; i < count; i++) sum = (sum + cursor.move(i).qty) | 0
      return sum
    },
    'i32 read index': () => {
      let sum = 0
      for (let i = 0; i < count; i++) sum = (sum + orders.at(i).qty) | 0
      return sum
    },
    'i32 write bare': () => {
      for (let i = 0; i < count; i++) n[i * 10 + 8] = i
    },
    'i32 write cursor': () => {
      for (let i = 0; i < count; i++) cursor.move(i).qty = i
    },
    'i32 write index': () => {
      for (let i = 0; i < count; i++) orders.at(i).qty = i
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
  await new Promise((resolve) => setTimeout(resolve, 50))
  let count = 0
  const observer = new PerformanceObserver((list) => {
    count += list.getEntries().length
  })
  observer.observe({ entryTypes: ['gc'] })
  for (let i = 0; i < 10_000; i++) sum()
  await new Promise((resolve) => setTimeout(resolve, 50))
  return count
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
      let sum = 0
      for (let i = 0; i < count; i++) sum += objects[i]!.price
      return sum
    })
  }
  const heap = new Heap()
  const orders = Order.array(heap, count)
  const cursor = orders.cursor()
  for (let i = 0; i < count; i++)
    cursor.move(i).assign({ id: i + 0.5, price: i + 0.25, total: i + 0.5, fee: 0.5, qty: i, side: 1 })
  return sumOf(() => {
    let sum = 0
    for (let i = 0; i < count; i++) sum += cursor.move(i).price
    return sum
  })
}

function child(name: string): unknown {
  const args = ['--max-old-space-size=8192', '--expose-gc', fileURLToPath(import.meta.url), '--child', name]
  const counts = ['--records', values.records, '--objects', values.objects]
  return JSON.parse(execFileSync(process.execPath, [...args, ...counts], { encoding: 'utf8' }))
}

const { child: name } = values
if (name !== undefined) {
  const result = name.startsWith('sum ')
    ? sums(name, Number(values.objects))
    : name === 'collections'
      ? await collections()
      : accesses(name, Number(values.records))
  console.log(JSON.stringify(result))
} else {
  const times = new Map<string, number>()
  const names = ['f64 read', 'f64 write', 'i32 read', 'i32 write'].flatMap((what) =>
    ['bare', 'cursor', 'index'].map((way) => `${what} ${way}`)
  )
  for (let i = 0; i < Number(values.processes); i++) {
    for (const key of [...names, 'one record bare', 'one record record'])
      times.set(key, Math.min(times.get(key) ?? Number.POSITIVE_INFINITY, child(key) as number))
  }
  for (const [key, ns] of times) {
    const bare = times.get(key.replace(/\w+$/, 'bare'))!
    console.log(`${key.padEnd(20)} ${ns.toFixed(2).padStart(6)} ns  ${(ns / bare).toFixed(2)}`)
  }
  console.log(`collections in 10 million moves of a cursor: ${child('collections')}`)
  const objects = child('sum objects') as { ns: number; bytes: number }
  const records = child('sum records') as { ns: number; bytes: number }
  for (const [key, { ns, bytes }] of Object.entries({ objects, records }))
    console.log(`one field of ${values.objects} ${key}: ${ns.toFixed(2)} ns and ${bytes.toFixed(1)} bytes each`)
  const ratio = `${(objects.ns / records.ns).toFixed(1)} times as fast, ${(records.bytes / objects.bytes).toFixed(2)} of the memory`
  console.log(`records are ${ratio}`)
}
