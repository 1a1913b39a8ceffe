import test from 'ava'
import { checkSignal, eitherOf, orAborted } from '../../lib/base/abort.ts'

const REASON = new Error('no more')

test('abort: an operation that is done before wins, an abort from before it does too, and no listener stays', async (t) => {
  const controller = new AbortController()
  const { signal } = controller
  let listeners = 0
  const { addEventListener, removeEventListener } = AbortSignal.prototype
  signal.addEventListener = (...args: unknown[]) => {
    listeners++
    Reflect.apply(addEventListener, signal, args)
  }
  signal.removeEventListener = (...args: unknown[]) => {
    listeners--
    Reflect.apply(removeEventListener, signal, args)
  }
  t.is(await orAborted(Promise.resolve(5), signal), 5)
  await t.throwsAsync(orAborted(Promise.reject(new Error('failed')), signal), { message: 'failed' })
  t.is(listeners, 0)
  const late = orAborted(new Promise(() => {}), signal)
  t.is(listeners, 1)
  controller.abort(REASON)
  t.is(await t.throwsAsync(late), REASON)
  t.is(await t.throwsAsync(orAborted(Promise.resolve(5), signal)), REASON, 'though it is done')
  t.is(await t.throwsAsync(orAborted(Promise.reject(new Error('failed')), signal)), REASON)
  const plain = Promise.resolve(6)
  t.is(orAborted(plain, undefined), plain)
})

test('abort: what is no signal is refused, and an aborted one tells its reason', (t) => {
  checkSignal(undefined)
  checkSignal(new AbortController().signal)
  for (const value of [null, 7, {}, new AbortController()])
    t.throws(() => checkSignal(value as never), { code: 'ERR_INVALID_ARG_TYPE' })
  t.is(
    t.throws(() => checkSignal(AbortSignal.abort(REASON))),
    REASON
  )
})

for (const which of [0, 1])
  test(`abort: of two signals number ${which} ends what follows both, until that is forgotten`, (t) => {
    const controllers = [new AbortController(), new AbortController()] as const
    const [first, second] = controllers
    t.is(eitherOf(first.signal).signal, first.signal)
    const both = eitherOf(first.signal, second.signal)
    const forgotten = eitherOf(first.signal, second.signal)
    forgotten.forget()
    controllers[which]!.abort(REASON)
    t.is(both.signal.reason, REASON)
    t.false(forgotten.signal.aborted)
    both.forget()
  })
