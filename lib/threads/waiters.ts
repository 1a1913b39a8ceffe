import { clearInterval, setInterval } from 'node:timers'
import { onAbort } from '../base/abort.ts'
import type { WakeWord } from './wake-word.ts'

/** One that waits, between those that came before and after. */
interface Waiter<T> {
  /** What it waits for; undefined if that isn't there yet. */
  readonly attempt: () => T | undefined
  readonly resolve: (found: T) => void
  readonly reject: (reason: unknown) => void
  before: Waiter<T>
  after: Waiter<T>
  /** The signal isn't listened to any more. */
  forget: (() => void) | undefined
}

/** Those that wait in this thread for something that threads share, in the order in which they came. */
export class Waiters<T> {
  /** The queue's ends: a ring, so that whoever leaves it has a neighbour on either side. */
  private readonly ends: Waiter<T>
  private count = 0
  /** The word that this thread sleeps on while somebody waits, and is counted at. */
  private watched: WakeWord | undefined
  private readonly changed: (length: number) => void

  /** @param changed is told how many wait, whenever it is another number */
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

  /** Joins the queue's end. Rejects with the signal's reason when that is aborted first. */
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

  /** Lets those try that have waited longest, at most `most`, until one finds nothing. What an attempt throws, its waiter is told. */
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

  /** There is nothing to wait for any more. */
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
   * While somebody waits here, what other threads do is looked for. They wake us by the word, if they see that there is anyone to be woken.
   * @param over why there is nothing to wait for any more; it is told whether nothing has happened for a while
   */
  async watch(word: WakeWord, over: (isIdle: boolean) => Error | undefined = () => undefined): Promise<void> {
    if (this.watched !== undefined) return
    this.watched = word
    // A wait alone doesn't keep a thread running.
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

  /** This thread sleeps no more, as far as others can see. Called before the words may go. */
  private leaveWatched(): void {
    this.watched?.leave()
    this.watched = undefined
  }
}
