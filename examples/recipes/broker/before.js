// A broker of MQTT by aedes: messages of 8 KB from one client to ten.
//
//     node examples/recipes/broker/before.js [MESSAGES]
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { Aedes } from 'aedes'

const [messages = '6000'] = process.argv.slice(2)
const CLIENTS = 10
const broker = await Aedes.createBroker()
const server = createServer(broker.handle)
server.listen(0, '127.0.0.1')
await once(server, 'listening')
const clients = fork(new URL('clients.js', import.meta.url), [String(server.address().port), String(CLIENTS), messages])
clients.once('message', ({ bytes }) => console.log(`${messages} messages to ${CLIENTS} clients, ${bytes} bytes`))
clients.once('exit', (status) => {
  process.exitCode = status
  broker.close()
  server.close()
})
