import { once } from 'node:events'
import { connect, type Server, type Socket } from 'node:net'
import { Duplex } from 'node:stream'
import { inspect } from 'node:util'
import test, { type ExecutionContext } from 'ava'
import type { BufferPool } from '../../lib/index.ts'
import { isWhole, listening, poolOf, until } from '../support/pool-io.ts'

type Warning = Error & { detail?: string }

/** The library's warnings of listeners while a test runs; each test is alone. */
function warningsOf(t: ExecutionContext): Warning[] {
  const warnings: Warning[] = []
  const listen = (warning: Error) => {
    if (warning.name === 'SpanheapWarning' && /listener/.test(warning.message)) warnings.push(warning)
  }
  process.on('warning', listen)
  t.teardown(() => process.off('warning', listen))
  return warnings
}

const turns = async () => {
  for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate)
}

/** A server whose listener gets a connection from a client that has sent a byte; and that client. */
async function oneConnection(
  t: ExecutionContext,
  pool: BufferPool,
  listener: (socket: Socket) => void | Promise<void>
) {
  const server = pool.createServer(listener)
  const port = await listening(t, server)
  const client = await clientOf(port)
  return { server, port, client }
}

async function clientOf(port: number): Promise<Socket> {
  const client = connect(port, '127.0.0.1').on('error', () => {})
  client.resume().write('x')
  await once(client, 'connect')
  return client
}

/** The server still takes connections, and its listener is called for them. */
async function goesOn(t: ExecutionContext, server: Server, port: number): Promise<void> {
  const accepted = once(server, 'connection')
  const client = connect(port, '127.0.0.1').on('error', () => {})
  await accepted
  client.destroy()
  t.true(server.listening)
}

test.serial('a bug of a listener ends its socket, and is shown with its stack each time', async (t) => {
  const pool = poolOf(t)
  const warnings = warningsOf(t)
  const sockets: Socket[] = []
  const { port, client } = await oneConnection(t, pool, async function answer(socket) {
    sockets.push(socket)
    for await (const _chunk of pool.read(socket)) throw new TypeError('on purpose')
  })
  await until(() => client.closed)
  const second = await clientOf(port)
  await until(() => second.closed)
  await until(() => warnings.length === 2)
  for (const { message, detail } of warnings) {
    t.is(message, "a listener of a pool's server failed, and its socket was destroyed")
    t.regex(detail!, /^TypeError: on purpose\n +at .*answer .*pooled-socket-rejections/)
  }
  for (const { errored } of sockets) t.is(errored?.message, 'on purpose')
  await isWhole(t, pool)
})

test.serial('a program that listens for errors of the socket gets the bug, and there is no warning', async (t) => {
  const pool = poolOf(t)
  const warnings = warningsOf(t)
  const errors: unknown[] = []
  const bug = new Error('on purpose')
  const { client } = await oneConnection(t, pool, async (socket) => {
    socket.on('error', (error) => errors.push(error))
    for await (const _chunk of pool.read(socket)) throw bug
  })
  await until(() => client.closed)
  await turns()
  t.deepEqual(errors, [bug])
  t.deepEqual(warnings, [])
})

test.serial(
  'a bug that comes after the socket was destroyed is shown, though the program listens: it gets no event',
  async (t) => {
    const pool = poolOf(t)
    const warnings = warningsOf(t)
    await oneConnection(t, pool, async (socket) => {
      socket.on('error', () => {})
      socket.destroy()
      await once(socket, 'close')
      throw new Error('on purpose')
    })
    await until(() => warnings.length === 1)
    t.regex(warnings[0]!.detail!, /on purpose/)
  }
)

/** How a connection may end under a listener that did nothing wrong. */
const ENDS: Record<string, (socket: Socket, client: Socket, pool: BufferPool) => Promise<void>> = {
  async 'reset while it reads'(socket, client, pool) {
    for await (const _chunk of pool.read(socket)) client.resetAndDestroy()
  },
  async 'reset while it writes'(socket, client, pool) {
    client.resetAndDestroy()
    for (;;) await pool.write(socket, Buffer.alloc(10_000))
  },
  async 'reset, and then it writes'(socket, client, pool) {
    client.resetAndDestroy()
    await until(() => socket.resume().closed)
    await pool.write(socket, Buffer.alloc(10))
  },
  async 'ended by the peer, and then it writes'(socket, client, pool) {
    client.end()
    await until(() => socket.resume().closed)
    await pool.write(socket, Buffer.alloc(10))
  },
  async 'destroyed while it writes'(socket, client, pool) {
    client.pause()
    setTimeout(() => socket.destroy(), 20)
    for (;;) await pool.write(socket, Buffer.alloc(1_000_000))
  },
  async 'destroyed with an error'(socket, _client, pool) {
    setImmediate(() => socket.destroy(new Error('on purpose')))
    for await (const _chunk of pool.read(socket));
  },
  async 'read as a stream of Node, and destroyed'(socket) {
    setImmediate(() => socket.destroy())
    for await (const _chunk of socket);
  },
  async 'its read is aborted'(socket, _client, pool) {
    const controller = new AbortController()
    setTimeout(() => controller.abort(), 20)
    for await (const _chunk of pool.read(socket, { signal: controller.signal }));
  },
}

for (const [way, listener] of Object.entries(ENDS)) {
  test.serial(`no warning of a listener that rejects since its connection is over: ${way}`, async (t) => {
    const pool = poolOf(t, 1_000_000)
    const warnings = warningsOf(t)
    let client: Socket | undefined
    let served: Socket | undefined
    let reason: unknown
    const connection = await oneConnection(t, pool, async (socket) => {
      served = socket
      await until(() => client !== undefined)
      await listener(socket, client!, pool).catch((error) => {
        reason = error
        throw error
      })
    })
    client = connection.client
    await until(() => reason !== undefined && served!.destroyed)
    await turns()
    t.deepEqual(
      warnings.map(({ detail }) => detail),
      [],
      inspect(reason)
    )
    client.destroy()
    await isWhole(t, pool)
  })
}

test.serial('whatever is thrown, the socket ends, it is shown, and the server goes on', async (t) => {
  const pool = poolOf(t)
  const warnings = warningsOf(t)
  const trap = () => {
    throw new Error('a trap')
  }
  const handler = Object.fromEntries(Object.getOwnPropertyNames(Reflect).map((name) => [name, trap]))
  const revoked = Proxy.revocable({}, {})
  revoked.revoke()
  let looks = 0
  const values = {
    undefined: undefined,
    null: null,
    'an empty string': '',
    'a symbol': Symbol('s'),
    'a frozen object': Object.freeze({ status: 400 }),
    'a frozen error': Object.freeze(new Error('frozen')),
    'an object without a prototype': Object.create(null),
    'a proxy that throws': new Proxy({}, handler),
    'a proxy of an error that throws': new Proxy(new Error('in it'), handler),
    'a proxy that throws later': new Proxy(new Error('in it'), { get: () => (++looks > 2 ? trap() : undefined) }),
    'a revoked proxy': revoked.proxy,
    'an error whose stack throws': Object.defineProperty(new Error('e'), 'stack', { get: trap }),
    'an object that can’t be shown': { [inspect.custom]: trap },
  }
  let value: unknown
  let listens = false
  const { server, port, client } = await oneConnection(t, pool, async (socket) => {
    if (listens) socket.on('error', () => {})
    for await (const _chunk of pool.read(socket)) throw value
  })
  await until(() => client.closed)
  for (const [name, thrown] of Object.entries(values)) {
    value = thrown
    for (listens of [false, true]) {
      const before = warnings.length
      const other = await clientOf(port)
      await until(() => other.closed)
      await turns()
      if (!listens) t.is(warnings.length, before + 1, name)
      t.is(typeof (warnings.at(-1)!.detail ?? ''), 'string')
    }
  }
  await goesOn(t, server, port)
  await isWhole(t, pool)
})

test.serial('a warning that fails, in Node or in a listener, fails nothing else', async (t) => {
  const pool = poolOf(t)
  const warnings = warningsOf(t)
  const { server, port, client } = await oneConnection(t, pool, async (socket) => {
    for await (const _chunk of pool.read(socket)) throw new Error('on purpose')
  })
  await until(() => client.closed && warnings.length === 1)
  const throwing = () => {
    throw new Error('a listener of a warning')
  }
  process.prependListener('warning', throwing)
  t.teardown(() => process.off('warning', throwing))
  const second = await clientOf(port)
  await until(() => second.closed)
  await turns()
  process.off('warning', throwing)
  await goesOn(t, server, port)
  await isWhole(t, pool)
})

test.serial(
  'what a program hands to the server itself ends by a bug of the listener, and the process goes on',
  async (t) => {
    const pool = poolOf(t)
    const warnings = warningsOf(t)
    const server = pool.createServer(async () => {
      throw new Error('on purpose')
    })
    const stream = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() })
    server.emit('connection', stream)
    await until(() => stream.closed && warnings.length === 1)
    for (const other of [undefined, {}, 7]) server.emit('connection', other)
    await until(() => warnings.length === 4)
    t.is(stream.errored?.message, 'on purpose')
  }
)
