import test from 'ava'
import { Waiters } from '../../lib/threads/waiters.ts'

const REASON = new Error('no more')

test('waiters: the first come is the first served, who leaves is left out, and each change is told', async (t) => {
  const lengths: number[] = []
  const waiters = new Waiters<number>((length) => lengths.push(length))
  const controller = new AbortController()
  const buffers = [10, 11]
  const take = () => buffers.shift()
  const [first, second, third] = [waiters.wait(take), waiters.wait(take, controller.signal), waiters.wait(take)]
  controller.abort(REASON)
  t.is(await t.throwsAsync(second), REASON)
  waiters.serve()
  t.deepEqual(await Promise.all([first, third]), [10, 11])
  t.deepEqual(lengths, [1, 2, 3, 2, 1, 0])
  const last = waiters.wait(() => t.fail('nobody waits') as never, new AbortController().signal)
  waiters.end(REASON)
  t.is(await t.throwsAsync(last), REASON)
  t.is(waiters.length, 0)
  waiters.serve()
})

test('waiters: one who was served isn’t rejected by a later abort', async (t) => {
  const lengths: number[] = []
  const waiters = new Waiters<number>((length) => lengths.push(length))
  const controller = new AbortController()
  const served = waiters.wait(() => 5, controller.signal)
  waiters.serve()
  controller.abort(REASON)
  t.is(await served, 5)
  t.deepEqual(lengths, [1, 0], 'it isn’t listened to any more')
})

test('an error while waiters are served is told to the first, and the rest go on waiting', async (t) => {
  const waiters = new Waiters<number>()
  let take = (): number => {
    throw new Error('no memory')
  }
  const first = waiters.wait(() => take())
  const second = waiters.wait(() => take())
  waiters.serve()
  await t.throwsAsync(first, { message: 'no memory' })
  t.is(waiters.length, 1)
  take = () => 5
  waiters.serve()
  t.is(await second, 5)
})
