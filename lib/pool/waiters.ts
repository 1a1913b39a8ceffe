import { clearInterval, setInterval } from 'node:timers'
import { Word } from './pool-slots.ts'

/** One who waits for a buffer. */
interface Waiter<T> {
  resolve(buffer: T): void
  reject(reason: unknown): void
}

/** So often, in milliseconds, who waits looks whether another thread has died. */
const POLL_MS = 50

/** Who waits in this thread for a buffer of a pool, in the order in which they came. */
export class Waiters<T> {
  private readonly queue = new Set<Waiter<T>>()
  /** The pool's words, while this thread is counted in them as one that waits. */
  private words: Int32Array | undefined
  private readonly changed: (length: number) => void

  /** @param changed is told how many wait, whenever it is another number */
  constructor(changed: (length: number) => void) {
    this.changed = changed
  }

  get length(): number {
    return this.queue.size
  }

  /** Joins the queue's end. Rejects with the signal's reason when that is aborted first. */
  wait(signal: AbortSignal | undefined): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const leave = () => {
        this.queue.delete(waiter)
        this.changed(this.length)
        signal?.removeEventListener('abort', abort)
      }
      const abort = () => {
        leave()
        reject(signal!.reason)
      }
      const waiter: Waiter<T> = {
        resolve: (buffer) => {
          leave()
          resolve(buffer)
        },
        reject: (reason) => {
          leave()
          reject(reason)
        },
      }
      signal?.addEventListener('abort', abort)
      this.queue.add(waiter)
      this.changed(this.length)
    })
  }

  /** Gives buffers to those who have waited longest, while there are any. What `take` throws, the first one is told. */
  serve(take: () => T | undefined): void {
    for (const waiter of this.queue) {
      try {
        const buffer = take()
        if (buffer === undefined) return
        waiter.resolve(buffer)
      } catch (error) {
        waiter.reject(error)
        return
      }
    }
  }

  /** The pool is closed: nobody waits any more. */
  end(reason: unknown): void {
    for (const waiter of this.queue) waiter.reject(reason)
    this.leave()
  }

  /**
   * While somebody waits here, what other threads release is looked for. They wake us by the word `Wake`, if they see by the word
   * `Waiters` that there is anyone to be woken.
   */
  async watchOthers(words: Int32Array, take: () => T | undefined): Promise<void> {
    if (this.words !== undefined) return
    this.words = words
    // A wait alone doesn't keep a thread running.
    const alive = setInterval(() => {}, 2 ** 30)
    Atomics.add(words, Word.Waiters, 1)
    while (this.words !== undefined) {
      const wake = Atomics.load(words, Word.Wake)
      this.serve(take)
      if (this.length === 0) break
      const wait = Atomics.waitAsync(words, Word.Wake, wake, POLL_MS)
      if (wait.async) await wait.value
    }
    clearInterval(alive)
    this.leave()
  }

  /** This thread waits no more, as far as others can see. Called before the words may go. */
  private leave(): void {
    if (this.words !== undefined) Atomics.sub(this.words, Word.Waiters, 1)
    this.words = undefined
  }

  /** Wakes one thread that waits, if there is any. */
  static wake(words: Int32Array): void {
    if (Atomics.load(words, Word.Waiters) === 0) return
    Atomics.add(words, Word.Wake, 1)
    Atomics.notify(words, Word.Wake, 1)
  }
}
