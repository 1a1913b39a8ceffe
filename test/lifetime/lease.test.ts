import test from 'ava'
import { Lease } from '../../lib/lifetime/lease.ts'
import { stateOf } from '../support/pools.ts'

const REASON = new Error('no more')

/** A lease of a lender that only counts. */
function lent() {
  const calls = { ended: 0, operations: 0 }
  const lender = {
    endLease: () => {
      calls.ended++
    },
    passLease: () => {
      throw new Error('not here')
    },
    beginOperation: () => {
      calls.operations++
      return () => {
        calls.operations--
      }
    },
  }
  return { calls, lease: new Lease(lender, 3, 'the buffer') }
}

test('lease: it ends with the last reference, once', (t) => {
  const { lease, calls } = lent()
  t.is(lease.retain(), lease)
  t.is(lease.references, 2)
  lease.release()
  t.is(lease.buffer, 'the buffer')
  t.is(calls.ended, 0)
  lease.release()
  t.is(calls.ended, 1)
  t.is(lease.references, 0)
  t.throws(() => lease.release(), { code: 'ERR_POOL_DOUBLE_RELEASE' })
  for (const call of [() => lease.buffer, () => lease.retain(), () => lease.hold()])
    t.throws(call, { code: 'ERR_HEAP_STALE_HANDLE' })
  lease[Symbol.dispose]()
  t.is(calls.ended, 1)
  t.is(lease.references, 0)
})

test('lease: dispose releases one reference, and only once', (t) => {
  const { lease, calls } = lent()
  lease.retain()
  lease[Symbol.dispose]()
  lease[Symbol.dispose]()
  t.is(lease.references, 1)
  lease.release()
  t.is(calls.ended, 1)
})

test('lease: during holds until the operation has settled, whatever comes of it', async (t) => {
  const { lease, calls } = lent()
  let finish: (value: number) => void = () => {}
  const running = lease.during(new Promise<number>((resolve) => (finish = resolve)))
  t.deepEqual([lease.references, calls.operations], [2, 1])
  lease.release()
  t.is(calls.ended, 0)
  finish(5)
  t.is(await running, 5)
  t.deepEqual([lease.references, calls.operations, calls.ended], [0, 0, 1])
  let ran = false
  const late = lease.during(async () => {
    ran = true
  })
  await t.throwsAsync(late, { code: 'ERR_HEAP_STALE_HANDLE' })
  t.false(ran)

  const { lease: other, calls: theirs } = lent()
  await t.throwsAsync(
    other.during(() => Promise.reject(REASON)),
    { is: REASON }
  )
  await t.throwsAsync(
    other.during(() => {
      throw REASON
    }),
    { is: REASON }
  )
  t.deepEqual([other.references, theirs.operations], [1, 0])
})

test('lease: asyncDispose waits for operations', async (t) => {
  const { lease, calls } = lent()
  const letGo = lease.hold()
  const ended = lease[Symbol.asyncDispose]()
  t.is(await stateOf(ended), 'waiting')
  letGo()
  letGo()
  t.is(await stateOf(ended), 'resolved')
  await lease[Symbol.asyncDispose]()
  t.deepEqual(calls, { ended: 1, operations: 0 })
})
