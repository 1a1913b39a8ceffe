// The origin, and clients that ask the proxy for what it has, sixteen at a time: node clients.js PORT REQUESTS
import { once } from 'node:events'
import { Agent, createServer, get } from 'node:http'

const [port, requests] = process.argv.slice(2).map(Number)
const AT_ONCE = 16
const PAGES = 4000
const bytes = Buffer.alloc(1 << 20, 'abcdefghijk')
/** From 2 to 200 KB. */
const page = (number) => bytes.subarray(number % 11, (number % 11) + 2000 + ((number * 7919) % 198_000))

const origin = createServer((incoming, response) => {
  const body = page(Number(incoming.url.slice(1)))
  response.setHeader('content-length', body.length)
  response.end(body)
})
origin.listen(0, '127.0.0.1')
await once(origin, 'listening')
process.send({ origin: `http://127.0.0.1:${origin.address().port}` })

const agent = new Agent({ keepAlive: true })
let seed = 7
function random() {
  seed = (Math.imul(seed, 1103515245) + 12345) >>> 0
  return seed / 2 ** 32
}

async function ask(number) {
  const [answer] = await once(get({ port, host: '127.0.0.1', agent, path: `/${number}` }), 'response')
  const expected = page(number)
  let size = 0
  for await (const chunk of answer) {
    if (chunk.compare(expected, size, size + chunk.length) !== 0) throw new Error(`page ${number} differs`)
    size += chunk.length
  }
  if (size !== expected.length) throw new Error(`page ${number} has ${size} bytes`)
  return size
}

let [next, sum] = [0, 0]
await Promise.all(
  Array.from({ length: AT_ONCE }, async () => {
    // Some pages are asked for often.
    while (next++ < requests) {
      const size = await ask(Math.floor(random() ** 2 * PAGES))
      sum += size
    }
  })
)
process.send({ bytes: sum })
agent.destroy()
origin.closeAllConnections()
origin.close()
process.disconnect()
