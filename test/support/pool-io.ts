import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import type { ExecutionContext } from 'ava'
import { BufferPool } from '../../lib/index.ts'

/** A pool of a test, which has everything back at its end. */
export function poolOf(t: ExecutionContext, size = 1024, max?: number): BufferPool {
  const pool = new BufferPool({ size, ...(max === undefined ? {} : { max }) })
  t.teardown(() => pool.close())
  return pool
}

/** Nothing of a pool is out, or will be as soon as callbacks that are due have been called. */
export async function isWhole(t: ExecutionContext, pool: BufferPool): Promise<void> {
  await until(() => pool.stats().leased === 0)
  const { leased, acquired } = pool.stats()
  t.deepEqual({ leased, acquired }, { leased: 0, acquired: 0 })
}

/** Waits until something holds. A test that waits in vain fails by ava's timeout. */
export async function until(test: () => boolean): Promise<void> {
  while (!test()) await setImmediate()
}

/** Bytes that differ from place to place. */
export function sample(length: number): Buffer {
  return Buffer.from(Uint8Array.from({ length }, (_, i) => (i * 31 + (i >> 8) * 7) & 0xff))
}

/** A new file of a test. */
export async function fileOf(t: ExecutionContext, contents: Buffer): Promise<FileHandle> {
  const folder = mkdtempSync(join(tmpdir(), 'spanheap-'))
  const file = await open(join(folder, 'file'), 'w+')
  await file.write(contents, 0, contents.length, 0)
  t.teardown(async () => {
    await file.close().catch(() => {})
    rmSync(folder, { recursive: true })
  })
  return file
}

/** A server of a test, and its port. */
export async function listening(t: ExecutionContext, server: Server): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  return (server.address() as AddressInfo).port
}

/** A server of Node's, and its port. */
export function serve(t: ExecutionContext, listener: (socket: Socket) => void): Promise<number> {
  return listening(
    t,
    createServer({ allowHalfOpen: true }, (socket) => {
      socket.on('error', () => {})
      listener(socket)
    })
  )
}

/** Copies of all chunks. */
export async function gather(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const copies: Buffer[] = []
  for await (const chunk of chunks) copies.push(Buffer.from(chunk))
  return Buffer.concat(copies)
}

/** What a promise is rejected with. */
export async function reasonOf(promise: Promise<unknown>): Promise<Error & { code?: string }> {
  try {
    await promise
  } catch (error) {
    return error as Error
  }
  throw new Error('it was not rejected')
}
