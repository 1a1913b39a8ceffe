// A TCP server sends back what it is sent. The system reads right into a pool's buffers, and writes from them: no chunk gets memory
// of its own, nothing is copied, and of a client that doesn't read what comes back, no more is read either.
//
//     node examples/echo-server.js [MIB_PER_CLIENT] [CLIENTS]
import { once } from 'node:events'
import { BufferPool } from 'spanheap'

const MIB = 2 ** 20
const [mib = '64', clients = '4'] = process.argv.slice(2)
const bytes = Number(mib) * MIB
const pool = new BufferPool({ size: 65536, tag: 'echo' })

const server = pool.createServer(async (socket) => {
  try {
    for await (const chunk of pool.read(socket)) await pool.write(socket, chunk)
    socket.end()
  } catch (error) {
    console.error(error.message) // of this connection; the others go on
    socket.destroy()
  }
})
server.listen(0, '127.0.0.1')
await once(server, 'listening')

/** Sends so many bytes, reads them back meanwhile, and checks them. */
async function client(number) {
  const socket = pool.connect({ port: server.address().port, host: '127.0.0.1' })
  const send = async () => {
    for (let sent = 0; sent < bytes; ) {
      const lease = await pool.leaseAsync()
      try {
        const part = lease.buffer.subarray(0, bytes - sent).fill(number)
        await pool.write(socket, part)
        sent += part.length
      } finally {
        lease.release()
      }
    }
    socket.end()
  }
  const receive = async () => {
    let received = 0
    for await (const chunk of pool.read(socket)) {
      if (chunk[0] !== number || chunk.at(-1) !== number) throw new Error('these are the bytes of another client')
      received += chunk.length
    }
    if (received !== bytes) throw new Error(`${received} bytes came back of ${bytes}`)
  }
  await Promise.all([send(), receive(), once(socket, 'close')])
}

const start = performance.now()
await Promise.all(Array.from({ length: Number(clients) }, (_, number) => client(number + 1)))
const seconds = (performance.now() - start) / 1000
server.close()
await once(server, 'close')

const total = Number(mib) * Number(clients)
console.log(`${clients} clients got ${total} MiB back, ${Math.round(total / seconds)} MiB a second`)
console.log(pool.stats())
pool.close()
