import type { SharedBlock } from './shared-block.ts'

/** So often, in milliseconds, a thread that sleeps looks whether its peers have died. */
const POLL_MS = 50
/**
 * So often a thread looks before it sleeps. One that does nothing else looks for as long as sleeping and waking up would take, 10 µs;
 * one that has other things to do, a part of that.
 */
const SYNC_SPINS = 3000
const ASYNC_SPINS = 500

/** A word of a shared block that threads sleep on until it changes, and one that counts these: more of them if one died asleep. */
export class WakeWord {
  private readonly block: SharedBlock
  private readonly words: Int32Array
  private readonly word: number
  private readonly sleepers: number

  /** @param word the index of the word; `sleepers`: of the one that counts */
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

  /** Wakes all threads that sleep, for a reason that isn't in the word. */
  wakeAll(): void {
    Atomics.notify(this.words, this.word)
  }

  /** From here on this thread counts as one that sleeps, or soon may. */
  enter(): void {
    Atomics.add(this.words, this.sleepers, 1)
  }

  /** Ends what `enter` began. The words may be another's by now, if this thread doesn't keep them. */
  leave(): void {
    if (this.block.isJoined) Atomics.sub(this.words, this.sleepers, 1)
  }

  /** Until the word isn't `value` any more, or for a while: then false. REQUIRES: `enter` */
  async sleep(value: number): Promise<boolean> {
    if (this.hasChanged(value, ASYNC_SPINS)) return true
    const wait = Atomics.waitAsync(this.words, this.word, value, POLL_MS)
    return !wait.async || (await wait.value) !== 'timed-out'
  }

  /** The same for a thread that does nothing else meanwhile, without `enter`. */
  sleepSync(value: number): boolean {
    if (this.hasChanged(value, SYNC_SPINS)) return true
    this.enter()
    const woken = Atomics.wait(this.words, this.word, value, POLL_MS)
    this.leave()
    return woken !== 'timed-out'
  }

  /** Looks a few times whether the word is another: going to sleep and waking up takes longer. */
  private hasChanged(value: number, looks: number): boolean {
    for (let looked = 0; looked < looks; looked++) if (Atomics.load(this.words, this.word) !== value) return true
    return false
  }
}
