// A proxy that keeps the bodies of answers in a cache of 128 MiB. As one writes it with undici and lru-cache.
//
//     node examples/recipes/proxy/before.js [REQUESTS]
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { setTimeout } from 'node:timers/promises'
import { LRUCache } from 'lru-cache'
import { Agent, request } from 'undici'

const [requests = '12000'] = process.argv.slice(2)
const dispatcher = new Agent({ connections: 16 })
const cache = new LRUCache({ maxSize: 128 << 20, sizeCalculation: (body) => body.length })
const server = createServer(async (incoming, response) => {
  try {
    let body = cache.get(incoming.url)
    if (body === undefined) {
      const answer = await request(origin + incoming.url, { dispatcher })
      body = Buffer.from(await answer.body.arrayBuffer())
      cache.set(incoming.url, body)
    }
    response.setHeader('content-length', body.length)
    response.end(body)
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
  await setTimeout(100)
  await dispatcher.destroy()
  server.close()
})
