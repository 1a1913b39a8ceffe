import { clearInterval, setInterval } from 'node:timers'
import { onAbort } from '../base/abort.ts'
import type { WakeWord } from './wake-word.ts'

/** A waiter in the queue, linked to those before and after it. */
interface Waiter<T> {
  /** Tries to get the thing waited for; undefined if it isn't there yet. */
  readonly attempt: () => T | undefined
  readonly resolve: (found: T) => void
  readonly reject: (reason: unknown) => void
  before: Waiter<T>
  after: Waiter<T>
  /** Stops listening to the signal. */
  forget: (() => void) | undefined
}

/** This thread's waiters for something that threads share, in order of arrival. */
export class Waiters<T> {
  /** The queue's ends. It is a ring, so every waiter has a neighbour on either side. */
  private readonly ends: Waiter<T>
  private count = 0
  /** The word that this thread sleeps on, counted as a sleeper, while there are waiters. */
  private watched: WakeWord | undefined
  private readonly changed: (length: number) => void

  /** @param changed is called with the number of waiters whenever it changes */
  constructor(changed: (length: number) => void = () => {}) {
    this.changed = changed
    const ends = { attempt: () => {}, resolve: () => {}, reject: () => {}, forget: undefined } as unknown as Waiter<T>
    ends.before = ends
    ends.after = ends
    this.ends = ends
  }

  get length(): number {
    return this.count
  }

  /** Joins the end of the queue. If the signal is aborted first, rejects with its reason. */
  wait(attempt: () => T | undefined, signal?: AbortSignal): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const { ends } = this
      const waiter: Waiter<T> = { attempt, resolve, reject, before: ends.before, after: ends, forget: undefined }
      ends.before.after = waiter
      ends.before = waiter
      this.changed(++this.count)
      if (signal === undefined) return
      waiter.forget = onAbort(signal, () => {
        this.leave(waiter)
        reject(signal.reason)
      })
    })
  }

  /** Lets the longest waiters try, at most `most`, until one finds nothing. If an attempt throws, its waiter rejects. */
  serve(most = Number.POSITIVE_INFINITY): void {
    for (let served = 0; served < most && this.count > 0; served++) {
      const first = this.ends.after
      try {
        const found = first.attempt()
        if (found === undefined) return
        this.leave(first)
        first.resolve(found)
      } catch (error) {
        this.leave(first)
        first.reject(error)
        return
      }
    }
  }

  /** Rejects all waiters: there is nothing to wait for any more. */
  end(reason: unknown): void {
    while (this.count > 0) {
      const first = this.ends.after
      this.leave(first)
      first.reject(reason)
    }
    this.leaveWatched()
  }

  private leave({ before, after, forget }: Waiter<T>): void {
    before.after = after
    after.before = before
    this.changed(--this.count)
    forget?.()
  }

  /**
   * Watches for changes by other threads while there are waiters. Other threads wake this one by the word if they see that it counts as a
   * sleeper.
   * @param over returns an error if there is nothing to wait for any more; `isIdle` says that nothing has happened for a while
   */
  async watch(word: WakeWord, over: (isIdle: boolean) => Error | undefined = () => undefined): Promise<void> {
    if (this.watched !== undefined) return
    this.watched = word
    // A pending wait alone doesn't keep a thread running.
    const alive = setInterval(() => {}, 2 ** 30)
    word.enter()
    while (this.watched !== undefined) {
      const { value } = word
      this.serve()
      if (this.count === 0) break
      const isIdle = !(await word.sleep(value))
      const reason = this.watched && over(isIdle)
      if (reason === undefined) continue
      this.serve()
      this.end(reason)
    }
    clearInterval(alive)
    this.leaveWatched()
  }

  /** Stops counting this thread as a sleeper. Called before the words may go. */
  private leaveWatched(): void {
    this.watched?.leave()
    this.watched = undefined
  }
}
