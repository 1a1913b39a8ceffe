/** So often a waiter looks before it sleeps. A guess: 0 to 2000 differed by no more than runs of one setting did. */
const SPINS = 200

/** How often each pair's teller has told, in memory that all threads of a replay share. */
export class Turns {
  private readonly told: Int32Array
  /** 1 where the pair's waiter sleeps, or is about to: a notification costs more than all the rest. */
  private readonly asleep: Int32Array

  /** @param memory of `Turns.bytes` bytes, all zero */
  constructor(memory: SharedArrayBuffer) {
    const pairs = memory.byteLength / (2 * Int32Array.BYTES_PER_ELEMENT)
    this.told = new Int32Array(memory, 0, pairs)
    this.asleep = new Int32Array(memory, pairs * Int32Array.BYTES_PER_ELEMENT, pairs)
  }

  static bytes(threads: number): number {
    return threads * threads * 2 * Int32Array.BYTES_PER_ELEMENT
  }

  /** Tells for the `count`th time, from 1. */
  tell(pair: number, count: number): void {
    Atomics.store(this.told, pair, count)
    if (Atomics.load(this.asleep, pair) !== 0) Atomics.notify(this.told, pair)
  }

  /** Waits until the teller has told `count` times. REQUIRES: the waiter has seen it told `count - 1` times. */
  wait(pair: number, count: number): void {
    const { told, asleep } = this
    for (let spins = 0; spins < SPINS; spins++) if (Atomics.load(told, pair) >= count) return
    Atomics.store(asleep, pair, 1)
    // Told so often that it is this waiter's turn, it doesn't fall asleep: the word is another by then.
    while (Atomics.load(told, pair) < count) Atomics.wait(told, pair, count - 1)
    Atomics.store(asleep, pair, 0)
  }

  /** Before a round. REQUIRES: nobody plays. */
  reset(): void {
    this.told.fill(0)
  }
}
