/** Random numbers that a seed decides: xorshift. */
export class Random {
  private state: number

  constructor(seed: number) {
    this.state = Math.imul(seed, 0x9e3779b1) | 1
  }

  /** A whole number from 0 to below `end`. */
  below(end: number): number {
    this.state ^= this.state << 13
    this.state ^= this.state >>> 17
    this.state ^= this.state << 5
    return (this.state >>> 0) % end
  }

  pick<T>(values: readonly T[]): T {
    return values[this.below(values.length)]!
  }
}
