// A server that sends messages of 24 KB to twenty clients each, by ws.
//
//     node examples/recipes/broadcast/before.js [MESSAGES]
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { WebSocketServer } from 'ws'

const [messages = '3000'] = process.argv.slice(2)
const CLIENTS = 20
const AT_ONCE = 4
const server = new WebSocketServer({ port: 0, host: '127.0.0.1' })
await once(server, 'listening')
const clients = fork(new URL('clients.js', import.meta.url), [String(server.address().port), String(CLIENTS), messages])
clients.once('exit', (status) => {
  process.exitCode = status
  server.close()
})
const send = (socket, payload) => new Promise((resolve) => socket.send(payload, resolve))

async function broadcast(number) {
  const payload = Buffer.allocUnsafe(24 << 10)
  payload.fill(number & 0xff)
  await Promise.all([...server.clients].map((socket) => send(socket, payload)))
}

await once(clients, 'message')
let next = 0
await Promise.all(
  Array.from({ length: AT_ONCE }, async () => {
    while (next < messages) await broadcast(next++)
  })
)
const [{ bytes }] = await once(clients, 'message')
console.log(`${messages} messages to ${CLIENTS} clients, ${bytes} bytes`)
