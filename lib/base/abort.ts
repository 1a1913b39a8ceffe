import type { OptionNames } from '../base/arguments.ts'
import { wrongType } from '../base/errors.ts'

/** Options of an operation that a signal can abort. */
export interface Abortable {
  /**
   * Aborting it rejects the operation with its reason. The operation still holds what it holds until it is done.
   * @default undefined
   */
  signal?: AbortSignal
}

export const ABORTABLE: OptionNames<Abortable> = { signal: true }

/** @throws TypeError; the signal's reason if it is aborted already */
export function checkSignal(signal: AbortSignal | undefined): void {
  if (signal !== undefined && !isSignal(signal)) throw wrongType('signal', 'an AbortSignal', signal)
  signal?.throwIfAborted()
}

/** Checks the members that we use, not the class: jsdom, for one, has its own. */
function isSignal(value: unknown): value is AbortSignal {
  const { aborted, throwIfAborted, addEventListener, removeEventListener } = (value ?? {}) as Partial<AbortSignal>
  const methods = [throwIfAborted, addEventListener, removeEventListener]
  return typeof aborted === 'boolean' && methods.every((method) => typeof method === 'function')
}

/** The callbacks for a signal's abort, and our one listener on it. */
interface Aborting {
  readonly callbacks: Set<() => void>
  readonly listener: () => void
}

const aborting = new WeakMap<AbortSignal, Aborting>()

/**
 * Calls `abort` when a signal is aborted, until the returned function is called. All calls share one listener per signal: an EventTarget
 * searches its whole list whenever a listener is added or removed, and thousands of connections may wait for the one signal of a server's
 * shutdown.
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

/** A signal that is aborted as soon as one of two is, until `forget` is called. Of a single one, that itself. */
export function eitherOf(first: AbortSignal, second?: AbortSignal): { signal: AbortSignal; forget: () => void } {
  if (second === undefined) return { signal: first, forget() {} }
  const either = new AbortController()
  const forgets = [first, second].map((signal) => onAbort(signal, () => either.abort(signal.reason)))
  return {
    signal: either.signal,
    forget() {
      for (const forget of forgets) forget()
    },
  }
}

/** Settles as the operation does, or rejects as soon as the signal is aborted. The operation goes on, and so do others that wait for it. */
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
    // If both are settled, the first one listed wins. That is the abort: otherwise one between two operations would go unnoticed.
    return await Promise.race([aborted, operation])
  } finally {
    forget()
  }
}
