import { once } from 'node:events'
import { existsSync, rmSync } from 'node:fs'
import net, { type AddressInfo, type NetConnectOpts, type Server, type ServerOpts, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test from 'ava'
import { BufferPool } from '../../lib/index.ts'

/** Node's functions, or a pool's in their place. */
interface Net {
  createServer(listener?: (socket: Socket) => void): Server
  createServer(options?: ServerOpts, listener?: (socket: Socket) => void): Server
  connect: typeof net.connect
  /** Reads all that comes, and forgets it. */
  discard(socket: Socket): void
}

const HOST = '127.0.0.1'
const portOf = (server: Server) => (server.address() as AddressInfo).port
const listen = async (server: Server) => {
  server.listen(0, HOST)
  await once(server, 'listening')
  return server
}
const closing = (server: Server) => new Promise((resolve) => server.close(resolve))
const turn = () => new Promise((resolve) => setTimeout(resolve, 20))

/** A connection, both ends of it, read to their ends. */
async function connected(
  { createServer, connect }: Net,
  options: ServerOpts = {},
  more: Partial<NetConnectOpts> = {}
): Promise<{ server: Server; served: Socket; client: Socket; end: () => Promise<void> }> {
  const server = await listen(createServer(options))
  const client = connect({ port: portOf(server), host: HOST, ...more } as NetConnectOpts)
  client.on('error', () => {})
  const [[served]] = (await Promise.all([once(server, 'connection'), once(client, 'connect')])) as unknown as [[Socket]]
  served.on('error', () => {})
  return {
    server,
    served,
    client,
    end: async () => {
      client.destroy()
      served.destroy()
      await closing(server)
    },
  }
}

/** The events of an emitter by name, in their order. */
function eventsOf(emitter: Socket | Server, names: readonly string[]): string[] {
  const events: string[] = []
  for (const name of names) emitter.on(name, () => events.push(name))
  return events
}

/** How a socket was made: all of its own fields and flags that are told in Node's documentation. */
function propertiesOf(socket: Socket): object {
  const { bytesRead, bytesWritten, connecting, destroyed, pending, readyState, timeout, allowHalfOpen } = socket
  const { localAddress, localFamily, remoteAddress, remoteFamily, autoSelectFamilyAttemptedAddresses } = socket
  const { readableHighWaterMark, writableHighWaterMark, readableFlowing, readable, writable, closed, errored } = socket
  return {
    ...{ bytesRead, bytesWritten, connecting, destroyed, pending, readyState, timeout, allowHalfOpen },
    ...{
      localAddress,
      localFamily,
      remoteAddress,
      remoteFamily,
      attempted: autoSelectFamilyAttemptedAddresses?.length,
    },
    ...{ readableHighWaterMark, writableHighWaterMark, readableFlowing, readable, writable, closed, errored },
    isSocket: socket instanceof net.Socket,
    family: (socket.address() as AddressInfo).family,
    ports: [typeof socket.localPort, typeof socket.remotePort],
    // Node's own note of what was asked for: setNoDelay and setKeepAlive make a system call only for another value.
    flags: Object.getOwnPropertySymbols(socket)
      .filter(({ description }) => /^kSet(NoDelay|KeepAlive)/.test(description!))
      .map((symbol) => [symbol.description, (socket as unknown as Record<symbol, unknown>)[symbol]]),
  }
}

/** What Node's documentation of net says, each with what comes of it. */
const CASES: Record<string, (net: Net) => Promise<unknown>> = {
  async 'event connection, with the socket of the listener'({ createServer, connect }) {
    const seen: unknown[] = []
    const server = createServer(
      (socket) => void seen.push(socket, socket.destroyed, (socket as never as { server: unknown }).server === server)
    )
    server.prependListener('connection', (socket) => seen.push(socket))
    server.once('connection', (socket) => seen.push(socket))
    await listen(server)
    const client = connect(portOf(server), HOST)
    await once(server, 'connection')
    const first = seen[0] as Socket
    const listeners = server.listenerCount('connection')
    client.destroy()
    first.destroy()
    await closing(server)
    return [seen.map((value) => (value === first ? 'socket' : value)), listeners]
  },
  async 'createServer without a listener, without anything'({ createServer, connect }) {
    const results: unknown[] = []
    for (const server of [createServer(), createServer({}), createServer(undefined), createServer(null as never)]) {
      await listen(server)
      const client = connect({ port: portOf(server), host: HOST })
      const [socket] = (await once(server, 'connection')) as [Socket]
      results.push(server instanceof net.Server, server.listening, propertiesOf(socket))
      client.destroy()
      socket.destroy()
      await closing(server)
    }
    return results
  },
  ...Object.fromEntries(
    (
      [
        { allowHalfOpen: true },
        { allowHalfOpen: false },
        { highWaterMark: 1234 },
        { highWaterMark: -1 },
        { noDelay: true },
        { keepAlive: true, keepAliveInitialDelay: 5000 },
        { keepAlive: true, keepAliveInitialDelay: -5 },
        { pauseOnConnect: true },
        { pauseOnConnect: false, noDelay: false },
      ] as ServerOpts[]
    ).map((options) => [
      `option ${JSON.stringify(options)}`,
      async (api: Net) => {
        const { served, client, end } = await connected(api, options, { keepAlive: true, noDelay: true } as object)
        const result = [propertiesOf(served), propertiesOf(client)]
        await end()
        return result
      },
    ])
  ),
  async 'options that Node refuses'({ createServer, connect }) {
    const codes: unknown[] = []
    for (const run of [
      () => createServer({ highWaterMark: 'x' } as never),
      () => createServer({ keepAliveInitialDelay: 'x' } as never),
      () => createServer(7 as never),
      () => connect({ port: 70_000 }),
      () => connect({ port: -1 }),
      () => connect({ port: 1, localPort: 'x' } as never),
      () => connect({ port: 1, localAddress: 'x' } as never),
      () => connect({ port: 1, lookup: 7 } as never),
      () => connect({ path: 7 } as never),
      () => connect({} as never),
      () => (connect as () => Socket)(),
      () => connect({ port: 1, objectMode: true } as never),
    ]) {
      try {
        run()
        codes.push('none')
      } catch (error) {
        codes.push([(error as Error).name, (error as { code?: string }).code])
      }
    }
    return codes
  },
  async 'connect by a port, a port and a host, a path, options; with a listener'({ createServer, connect }) {
    const path = join(tmpdir(), `net-alike-${process.pid}-${Math.random()}.sock`)
    const inet = await listen(createServer((socket) => void socket.end()))
    const unix = createServer((socket) => void socket.end())
    unix.listen(path)
    await once(unix, 'listening')
    const port = portOf(inet)
    const results: unknown[] = []
    for (const open of [
      (listener: () => void) => connect(port, HOST, listener),
      (listener: () => void) => connect(port, listener as never),
      (listener: () => void) => connect(`${port}` as never, HOST, listener),
      (listener: () => void) => connect(path, listener),
      (listener: () => void) => connect({ path }, listener),
      (listener: () => void) => connect({ port, host: HOST }, listener),
      (listener: () => void) => connect({ port, host: HOST, timeout: 5000 }, listener),
      (listener: () => void) => connect(port, HOST).once('connect', listener),
    ]) {
      let called = 0
      const socket = open(() => called++)
      const events = eventsOf(socket, ['lookup', 'connect', 'ready', 'end', 'close', 'error'])
      const before = [socket.connecting, socket.pending, socket.readyState, socket.timeout]
      await once(socket, 'connect')
      socket.resume()
      await once(socket, 'close')
      results.push(before, called, events, socket.destroyed, socket.closed)
    }
    await Promise.all([closing(inet), closing(unix)])
    rmSync(path, { force: true })
    return [...results, existsSync(path)]
  },
  async 'events and errors of a connection that is refused'({ connect }) {
    const nobody = await listen(net.createServer())
    const port = portOf(nobody)
    await closing(nobody)
    const socket = connect({ port, host: HOST })
    const events = eventsOf(socket, ['connect', 'ready', 'end', 'error', 'close'])
    const [error] = await Promise.race([once(socket, 'error'), once(socket, 'error')])
    await turn()
    return [(error as { code: string }).code, events, socket.destroyed, socket.errored === error]
  },
  async 'events of both ends, in order, and what was counted'(api) {
    const { served, client, end } = await connected(api)
    const names = ['end', 'finish', 'close', 'drain', 'error', 'pause', 'timeout']
    const of = [eventsOf(served, names), eventsOf(client, names)]
    client.end('hello')
    served.resume()
    client.resume()
    await Promise.all([once(served, 'close'), once(client, 'close')])
    const counted = [served.bytesRead, served.bytesWritten, client.bytesRead, client.bytesWritten]
    await end()
    return [of, counted, served.readyState, client.readyState]
  },
  async 'event drain, and write with a callback, and its result'(api) {
    const { served, client, end } = await connected(api, { highWaterMark: 100 })
    const results: unknown[] = [served.write('x'), served.write(Buffer.alloc(2 ** 23)), served.writableNeedDrain]
    api.discard(client)
    await once(served, 'drain')
    await new Promise((resolve) => served.write('last', 'latin1', resolve as never))
    results.push(served.writableLength, served.bytesWritten)
    await end()
    return results
  },
  async 'setTimeout, and its event; setKeepAlive, setNoDelay, ref and unref return the socket'(api) {
    const { served, client, end } = await connected(api)
    const own = served.setTimeout(10) === served
    await once(served, 'timeout')
    const still = [served.destroyed, served.timeout, served.setTimeout(0).timeout]
    const chained = [
      client.setKeepAlive(true, 1000),
      client.setNoDelay(true),
      client.ref(),
      client.unref(),
      client.ref(),
    ]
    const flags = propertiesOf(client)
    await end()
    return [own, still, chained.every((value) => value === client), flags]
  },
  async 'half open: one side ends, the other goes on'(api) {
    const { served, client, end } = await connected(api, { allowHalfOpen: true }, { allowHalfOpen: true } as object)
    client.end()
    served.resume()
    client.resume()
    await once(served, 'end')
    const states = [served.readyState, client.readyState, served.writable]
    served.end('more')
    await once(client, 'close')
    const result = [...states, client.bytesRead]
    await end()
    return result
  },
  async 'destroy with an error, destroySoon, resetAndDestroy'(api) {
    const results: unknown[] = []
    for (const way of ['destroy', 'destroySoon', 'resetAndDestroy'] as const) {
      const { served, client, end } = await connected(api)
      const events = [eventsOf(served, ['error', 'end', 'close']), eventsOf(client, ['error', 'close'])]
      served.resume()
      client.resume()
      const closed = Promise.all(
        [served, client].map((socket) => new Promise((resolve) => socket.once('close', resolve)))
      )
      if (way === 'destroy') served.destroy(new Error('on purpose'))
      else served[way]()
      await closed
      results.push(way, events, served.errored?.message, (client.errored as { code?: string } | null)?.code)
      await end()
    }
    return results
  },
  async 'server: listening, address, ref, unref, close twice, an address in use, getConnections'(api) {
    const { server, served, client, end } = await connected(api)
    const events = eventsOf(server, ['close', 'error'])
    const count = () => new Promise((resolve) => server.getConnections((_, connections) => resolve(connections)))
    const before = [
      server.listening,
      typeof portOf(server),
      server.ref() === server,
      server.unref() === server,
      await count(),
    ]
    const other = api.createServer()
    other.listen(portOf(server), HOST)
    const [inUse] = (await once(other, 'error')) as [{ code: string }]
    client.destroy()
    served.resume()
    await once(served, 'close')
    const after = await count()
    await end()
    const again = ((await closing(server)) as { code: string }).code
    return [before, inUse.code, after, events, server.listening, server.address(), again]
  },
  async 'server: maxConnections and the event drop'({ createServer, connect }) {
    const server = createServer()
    server.maxConnections = 1
    await listen(server)
    const first = connect(portOf(server), HOST)
    const [served] = (await once(server, 'connection')) as [Socket]
    const second = connect(portOf(server), HOST)
    second.on('error', () => {})
    const [dropped] = (await once(server, 'drop')) as [{ localFamily: string; remoteAddress: string }]
    for (const socket of [first, second, served]) socket.destroy()
    await closing(server)
    return [dropped.localFamily, dropped.remoteAddress, Object.keys(dropped).sort()]
  },
  async 'server: listen with a signal, with options, with a callback'({ createServer }) {
    const controller = new AbortController()
    const server = createServer()
    const called = new Promise((resolve) =>
      server.listen({ port: 0, host: HOST, signal: controller.signal, backlog: 5 }, () => resolve('called'))
    )
    const result = [await called, server.listening]
    controller.abort()
    await once(server, 'close')
    await turn()
    return [...result, server.listening]
  },
  async 'pauseOnConnect: nothing is read before it is asked for'(api) {
    const { served, client, end } = await connected(api, { pauseOnConnect: true })
    client.write('hello')
    await turn()
    const before = [served.bytesRead, served.isPaused()]
    served.resume()
    while (served.bytesRead < 5) await turn()
    const result = [...before, served.bytesRead]
    await end()
    return result
  },
  async 'diagnostics_channel has the same socket'(api) {
    const { subscribe, unsubscribe } = await import('node:diagnostics_channel')
    const seen: unknown[] = []
    const see = (message: unknown) => void seen.push((message as { socket: Socket }).socket)
    subscribe('net.server.socket', see)
    const { served, end } = await connected(api)
    unsubscribe('net.server.socket', see)
    await end()
    return seen.map((socket) => socket === served)
  },
}

for (const [name, run] of Object.entries(CASES)) {
  test.serial(`a pool's createServer and connect are as net's: ${name}`, async (t) => {
    const pool = new BufferPool({ size: 512 })
    const expected = await run({
      createServer: net.createServer as Net['createServer'],
      connect: net.connect,
      discard: (socket) => void socket.resume(),
    })
    const discard = async (socket: Socket) => {
      for await (const _ of pool.read(socket));
    }
    const found = await run({
      createServer: pool.createServer.bind(pool),
      connect: pool.connect.bind(pool) as typeof net.connect,
      discard: (socket) => void discard(socket).catch(() => {}),
    })
    t.deepEqual(found, expected)
    await turn()
    await pool[Symbol.asyncDispose]()
    t.pass()
  })
}

test.serial('a listener that rejects ends its socket, and neither another nor the process', async (t) => {
  const pool = new BufferPool({ size: 512 })
  let rejected = 0
  const server = await listen(
    pool.createServer(async (socket) => {
      try {
        for await (const chunk of pool.read(socket)) {
          if (chunk[0] === 1) throw new Error('on purpose')
          await pool.write(socket, chunk)
        }
      } catch (error) {
        rejected++
        throw error
      }
    })
  )
  const open = async () => {
    const client = net.connect(portOf(server), HOST)
    client.on('error', () => {})
    await once(client, 'connect')
    return client
  }
  const good = await open()
  const reset = await open()
  reset.write(Buffer.alloc(5000))
  await once(reset, 'data')
  reset.resetAndDestroy()
  const bad = await open()
  bad.resume().write(Buffer.of(1))
  await once(bad, 'close')
  while (rejected < 2) await turn()
  good.write('still here')
  const [chunk] = (await once(good, 'data')) as [Buffer]
  t.is(chunk.toString(), 'still here')
  good.end()
  good.resume()
  await closing(server)
  await pool[Symbol.asyncDispose]()
})

test('a socket that a program hands to the server itself is read as any stream', async (t) => {
  const pool = new BufferPool({ size: 512 })
  const { Duplex } = await import('node:stream')
  const got = new Promise<string>((resolve) => {
    const server = pool.createServer(async (socket) => {
      let text = ''
      for await (const chunk of pool.read(socket)) text += chunk
      resolve(text)
    })
    const stream = Duplex.from(
      (async function* () {
        yield Buffer.from('by hand')
      })()
    )
    server.emit('connection', stream)
  })
  t.is(await got, 'by hand')
  await pool[Symbol.asyncDispose]()
})
