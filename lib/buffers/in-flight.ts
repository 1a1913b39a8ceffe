/** System operations in flight that read or write blocks. */
export class Operations {
  private count = 0
  private readonly ended: () => void

  /** @param ended called whenever the last operation in flight is over */
  constructor(ended: () => void) {
    this.ended = ended
  }

  get areUnderWay(): boolean {
    return this.count > 0
  }

  /** Begins an operation. The first call of the returned function ends it. */
  begin(): () => void {
    this.count++
    let isOver = false
    return () => {
      if (isOver) return
      isOver = true
      if (--this.count === 0) this.ended()
    }
  }
}
