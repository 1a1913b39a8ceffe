import type { SharedBlock } from './shared-block.ts'

/** How often, in milliseconds, a sleeping thread checks whether its peers have died. */
const POLL_MS = 50
/**
 * How often a thread checks the word before it sleeps. A thread with nothing else to do checks for as long as sleeping and waking up would
 * take, 10 µs; a thread with other work for a part of that.
 */
const SYNC_SPINS = 3000
const ASYNC_SPINS = 500

/** A word of a shared block that threads sleep on until it changes, and a count of sleepers. The count is too high if a thread died asleep. */
export class WakeWord {
  private readonly block: SharedBlock
  private readonly words: Int32Array
  private readonly word: number
  private readonly sleepers: number

  /** @param word the index of the word; `sleepers`: of the count */
  constructor(block: SharedBlock, word: number, sleepers: number) {
    this.block = block
    this.words = block.words
    this.word = word
    this.sleepers = sleepers
  }

  get value(): number {
    return Atomics.load(this.words, this.word)
  }

  /** Wakes one thread, if any sleeps. REQUIRES: the word has changed */
  wake(): void {
    if (Atomics.load(this.words, this.sleepers) !== 0) Atomics.notify(this.words, this.word, 1)
  }

  /** Wakes all sleepers, for a reason other than a change of the word. */
  wakeAll(): void {
    Atomics.notify(this.words, this.word)
  }

  /** Counts this thread as a sleeper from now on: it sleeps or soon may. */
  enter(): void {
    Atomics.add(this.words, this.sleepers, 1)
  }

  /** Ends what `enter` began. The words may have another owner by now, if this thread has no seat. */
  leave(): void {
    if (this.block.isJoined) Atomics.sub(this.words, this.sleepers, 1)
  }

  /** Sleeps until the word isn't `value` any more; false if it still is after a while. REQUIRES: `enter` */
  async sleep(value: number): Promise<boolean> {
    if (this.hasChanged(value, ASYNC_SPINS)) return true
    const wait = Atomics.waitAsync(this.words, this.word, value, POLL_MS)
    return !wait.async || (await wait.value) !== 'timed-out'
  }

  /** The same, blocking the thread, and without `enter`. */
  sleepSync(value: number): boolean {
    if (this.hasChanged(value, SYNC_SPINS)) return true
    this.enter()
    const woken = Atomics.wait(this.words, this.word, value, POLL_MS)
    this.leave()
    return woken !== 'timed-out'
  }

  /** Checks a few times whether the word has changed: sleeping and waking up takes longer. */
  private hasChanged(value: number, looks: number): boolean {
    for (let looked = 0; looked < looks; looked++) if (Atomics.load(this.words, this.word) !== value) return true
    return false
  }
}
