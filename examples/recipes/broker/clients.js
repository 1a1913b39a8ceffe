// One client that publishes, and others that subscribe: node clients.js PORT CLIENTS MESSAGES
import { setTimeout } from 'node:timers/promises'
import mqtt from 'mqtt'

const [port, clients, messages] = process.argv.slice(2).map(Number)
const AT_ONCE = 20
/** So many messages may be on their way. */
const MOST_AHEAD = 4000
const payload = Buffer.alloc(8192, 'x')
let [got, bytes] = [0, 0]
const connect = () => mqtt.connectAsync(`mqtt://127.0.0.1:${port}`)
const sinks = await Promise.all(
  Array.from({ length: clients }, async () => {
    const sink = await connect()
    sink.on('message', (_topic, message) => {
      got++
      bytes += message.length
    })
    await sink.subscribeAsync('topic/#')
    return sink
  })
)
const source = await connect()
for (let sent = 0; sent < messages; sent += AT_ONCE) {
  await Promise.all(Array.from({ length: AT_ONCE }, (_, n) => source.publishAsync(`topic/${n}`, payload)))
  while ((sent + AT_ONCE) * clients - got > MOST_AHEAD) await setTimeout(1)
}
while (got < clients * messages) await setTimeout(1)
process.send({ bytes })
await Promise.all([source, ...sinks].map((client) => client.endAsync(true)))
process.disconnect()
