// The same proxy: the cache holds leases, and `dispose` releases what it drops.
//
//     node examples/recipes/proxy/after.js [REQUESTS]
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { setTimeout } from 'node:timers/promises'
import { LRUCache } from 'lru-cache'
import { PoolSet } from 'spanheap'
import { Agent, request } from 'undici'

const [requests = '12000'] = process.argv.slice(2)
const dispatcher = new Agent({ connections: 16 })
const pools = new PoolSet()
const sizeCalculation = (body) => body.buffer.length
const cache = new LRUCache({ maxSize: 128 << 20, sizeCalculation, dispose: (body) => body.release() })
const server = createServer(async (incoming, response) => {
  try {
    let body = cache.get(incoming.url)
    if (body === undefined) {
      const answer = await request(origin + incoming.url, { dispatcher })
      body = await pools.collect(answer.body, { sizeHint: Number(answer.headers['content-length'] ?? 0) })
      cache.set(incoming.url, body)
    }
    await (cache.has(incoming.url) ? body.retain() : body).end(response)
  } catch {
    response.destroy()
  }
})

server.listen(0, '127.0.0.1')
await once(server, 'listening')
const clients = fork(new URL('clients.js', import.meta.url), [String(server.address().port), requests])
const [{ origin }] = await once(clients, 'message')
clients.once('message', ({ bytes }) => console.log(`${requests} answers, ${bytes} bytes; ${cache.size > 0} cached`))
clients.once('exit', async (status) => {
  process.exitCode = status
  cache.clear()
  pools.heap.releaseFreeMemory()
  await setTimeout(100)
  await dispatcher.destroy()
  server.close()
})
