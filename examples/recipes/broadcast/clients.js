// Clients that count what they get: node clients.js PORT CLIENTS MESSAGES
import { once } from 'node:events'
import WebSocket from 'ws'

const [port, clients, messages] = process.argv.slice(2).map(Number)
let bytes = 0
const sockets = Array.from(
  { length: clients },
  () => new WebSocket(`ws://127.0.0.1:${port}`, { perMessageDeflate: false })
)
const ends = sockets.map(
  (socket) =>
    new Promise((resolve) => {
      let got = 0
      socket.on('message', (data) => {
        bytes += data.length
        if (data[0] !== data.at(-1)) throw new Error('a message was changed on its way')
        if (++got === messages) resolve()
      })
    })
)
await Promise.all(sockets.map((socket) => once(socket, 'open')))
process.send('ready')
await Promise.all(ends)
process.send({ bytes })
for (const socket of sockets) socket.terminate()
process.disconnect()
