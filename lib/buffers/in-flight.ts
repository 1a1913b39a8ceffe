/** Operations of the system's that read or write blocks, and are under way. */
export class Operations {
  private count = 0
  private readonly ended: () => void

  /** @param ended is called whenever the last one is over */
  constructor(ended: () => void) {
    this.ended = ended
  }

  get areUnderWay(): boolean {
    return this.count > 0
  }

  /** One more begins. It is over when the returned function is called, the first time. */
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
