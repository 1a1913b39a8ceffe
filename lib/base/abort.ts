import type { OptionNames } from '../base/arguments.ts'
import { wrongType } from '../base/errors.ts'

/** What can be called off. */
export interface Abortable {
  /**
   * Rejects with its reason when it is aborted. What an operation holds, it holds until it is done nevertheless.
   * @default undefined
   */
  signal?: AbortSignal
}

export const ABORTABLE: OptionNames<Abortable> = { signal: true }

/** @throws TypeError; the signal's reason where it is aborted already */
export function checkSignal(signal: AbortSignal | undefined): void {
  if (signal !== undefined && !isSignal(signal)) throw wrongType('signal', 'an AbortSignal', signal)
  signal?.throwIfAborted()
}

/** By what is used of it: jsdom, for one, has a class of its own. */
function isSignal(value: unknown): value is AbortSignal {
  const { aborted, throwIfAborted, addEventListener, removeEventListener } = (value ?? {}) as Partial<AbortSignal>
  const methods = [throwIfAborted, addEventListener, removeEventListener]
  return typeof aborted === 'boolean' && methods.every((method) => typeof method === 'function')
}

/** Those who are told when a signal is aborted, and the one listener that it has of ours. */
interface Aborting {
  readonly callbacks: Set<() => void>
  readonly listener: () => void
}

const aborting = new WeakMap<AbortSignal, Aborting>()

/**
 * Calls `abort` when a signal is aborted, until the returned function is called. A signal has one listener for all: an EventTarget looks through
 * all that it has at each that is added or removed, and thousands of connections may wait for one signal of a server's end.
 */
export function onAbort(signal: AbortSignal, abort: () => void): () => void {
  let known = aborting.get(signal)
  if (known === undefined) {
    const callbacks = new Set<() => void>()
    const listener = () => {
      for (const callback of callbacks) callback()
    }
    known = { callbacks, listener }
    aborting.set(signal, known)
    signal.addEventListener('abort', listener)
  }
  const { callbacks, listener } = known
  callbacks.add(abort)
  return () => {
    if (!callbacks.delete(abort) || callbacks.size > 0) return
    aborting.delete(signal)
    signal.removeEventListener('abort', listener)
  }
}

/** What an operation comes to, or a rejection as soon as the signal is aborted. The operation goes on, and whoever waits for it too. */
export function orAborted<T>(operation: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  return signal === undefined ? operation : untilAborted(operation, signal)
}

async function untilAborted<T>(operation: Promise<T>, signal: AbortSignal): Promise<T> {
  let forget = () => {}
  const aborted = new Promise<never>((_, reject) => {
    if (signal.aborted) reject(signal.reason)
    else forget = onAbort(signal, () => reject(signal.reason))
  })
  operation.catch(() => {})
  try {
    // Whichever comes first here wins where both are settled: an abort, or who aborts between two operations would never be heard.
    return await Promise.race([aborted, operation])
  } finally {
    forget()
  }
}
