import type { Socket } from 'node:net'
import type { ExecutionContext } from 'ava'
import { Operations } from '../../lib/buffers/in-flight.ts'
import type { BufferPool, ReadSource } from '../../lib/index.ts'
import { HOST } from '../../lib/lifetime/host.ts'
import { isWhole, until } from './pool-io.ts'

/** Operations that each heap waits for before it gives its memory away. */
const underWay = new Map<Operations, number>()
const { begin } = Operations.prototype
Operations.prototype.begin = function (this: Operations) {
  const end = begin.call(this)
  const add = (count: number) => underWay.set(this, (underWay.get(this) ?? 0) + count)
  add(1)
  let isOver = false
  return () => {
    if (!isOver) add(-1)
    isOver = true
    end()
  }
}

/** Everything came back, no operation is under way, and a close of the pool has nothing to wait for. */
export async function isOver(t: ExecutionContext, pool: BufferPool, source?: ReadSource): Promise<void> {
  if (source !== undefined && 'destroy' in source) (source as Socket).destroy()
  await isWhole(t, pool)
  const { buffers, idle, waiting } = pool.stats()
  t.deepEqual({ idle, waiting }, { idle: buffers, waiting: 0 })
  await until(() => (underWay.get(pool.heap[HOST].operations) ?? 0) === 0)
  pool.heap.audit()
  await pool[Symbol.asyncDispose]()
  t.false(pool.heap[HOST].isOpen)
}
