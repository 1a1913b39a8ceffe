import type { OptionNames } from '../arguments.ts'
import { wrongType } from '../errors.ts'

/** What can be called off. */
export interface Abortable {
  /** Rejects with its reason when it is aborted. What an operation holds, it holds until it is done nevertheless. */
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

/** What an operation comes to, or a rejection as soon as the signal is aborted. The operation goes on, and whoever waits for it too. */
export function orAborted<T>(operation: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  return signal === undefined ? operation : untilAborted(operation, signal)
}

async function untilAborted<T>(operation: Promise<T>, signal: AbortSignal): Promise<T> {
  let abort!: () => void
  const aborted = new Promise<never>((_, reject) => {
    abort = () => reject(signal.reason)
    if (signal.aborted) abort()
    else signal.addEventListener('abort', abort)
  })
  operation.catch(() => {})
  try {
    // Whichever comes first here wins where both are settled: an abort, or who aborts between two operations would never be heard.
    return await Promise.race([aborted, operation])
  } finally {
    signal.removeEventListener('abort', abort)
  }
}
