/**
 * Where the words lie that the threads of a {@link Crew} share: one Int32Array. Those that different threads write are in lines of
 * their own.
 */
export const enum Word {
  Arrived = 0,
  /** A thread whose time is over sets it, so that nobody waits for that thread. */
  Stop = 16,
  Tail = 32,
  Head = 48,
  /** The rounds that each thread has finished, a line each. */
  Rounds = 64,
  Transfer = 128,
  /** A block for each thread, a line each. */
  Given = 1152,
  Ring = 2048,
  /** A box for each thread: whether it is full, and from the next line on what is in it. */
  Boxes = 6144,
  Arrays = 8192,
  Count = 8192 + 2 * 8192,
}

export const enum Line {
  /** The words of a line of the cache. */
  Words = 16,
}

/** Waits a moment: first by looking again and again, then asleep, since the other may need this core. The C side does the same. */
export function waitWhile(words: Int32Array, word: number, value: number): boolean {
  for (let look = 0; look < 1000; look++) if (Atomics.load(words, word) !== value) return true
  Atomics.wait(words, Word.Arrived + 1, 0, 0.1)
  return Atomics.load(words, word) !== value
}
