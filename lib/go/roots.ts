/** Rooms for the first roots, and for the first objects of scopes. */
const FIRST_ROOM = 1024
/** Beyond the end of every list. */
const DONE = Number.MAX_SAFE_INTEGER

/** A list of units of 8 bytes that grows, off V8's heap. */
class Units {
  words = new Int32Array(FIRST_ROOM)
  length = 0

  push(unit: number): void {
    if (this.length === this.words.length) this.makeRoom(1)
    this.words[this.length++] = unit
  }

  append(units: Int32Array): void {
    if (this.length + units.length > this.words.length) this.makeRoom(units.length)
    this.words.set(units, this.length)
    this.length += units.length
  }

  private makeRoom(units: number): void {
    const longer = new Int32Array(Math.max(this.words.length * 2, this.length + units))
    longer.set(this.words)
    this.words = longer
  }
}

/**
 * What the collector starts from: roots that the program has added, objects that were allocated in open scopes, and the newest
 * object. Each as the unit of 8 bytes that it starts with.
 */
export class Roots {
  /** The newest object; 0 before the first. */
  newest = 0
  private readonly added = new Units()
  private readonly scoped = new Units()
  /** What scopes had that ended while the collector marks, and what it hadn't looked at. */
  private readonly dropped = new Units()
  private readonly scopes: OpenScope[] = []
  /** Roots that were removed, whose ids are given out again. */
  private readonly free = new Units()
  /** How far the collector has come in both lists; beyond them when it isn't marking. */
  private addedDone = DONE
  private scopedDone = DONE

  /** Returns the root's id, from 1 on. */
  add(unit: number): number {
    if (this.free.length === 0) {
      this.added.push(unit)
      return this.added.length
    }
    const id = this.free.words[--this.free.length]!
    this.added.words[id - 1] = unit
    return id
  }

  /** What a root was; 0 where there is none of this id, and nothing changes. */
  remove(id: number): number {
    const unit = Number.isInteger(id) && id > 0 && id <= this.added.length ? this.added.words[id - 1]! : 0
    if (unit !== 0) {
      this.free.push(id)
      this.added.words[id - 1] = 0
    }
    return unit
  }

  /** The newest object; kept longer where a scope is open. */
  keep(unit: number): void {
    if (this.scopes.length > 0) this.scoped.push(unit)
    this.newest = unit
  }

  /** Opens a scope. */
  open(): OpenScope {
    const scope = { start: this.scoped.length }
    this.scopes.push(scope)
    return scope
  }

  /**
   * Ends a scope, the innermost or not. What an older scope that is open still has too stays, and what scopes have that were opened
   * in it. While the collector marks, all else is still to be looked at. Nothing happens where it has ended already.
   */
  close(scope: OpenScope): void {
    const { scopes, scoped } = this
    const index = scopes.indexOf(scope)
    if (index < 0) return
    // What was allocated in it was allocated in the scope before it too, which goes on with it.
    const end = index > 0 ? 0 : (scopes[1]?.start ?? scoped.length)
    if (!this.isDone) this.dropped.append(scoped.words.subarray(Math.min(end, this.scopedDone), end))
    scopes.splice(index, 1)
    if (end === 0) return
    scoped.words.copyWithin(0, end, scoped.length)
    scoped.length -= end
    for (const inner of scopes) inner.start -= end
    if (this.scopedDone !== DONE) this.scopedDone = Math.max(0, this.scopedDone - end)
  }

  /** A cycle begins: all roots are to be looked at. */
  begin(): void {
    this.addedDone = 0
    this.scopedDone = 0
    this.dropped.length = 0
  }

  /** Whether the collector has looked at all of them. */
  get isDone(): boolean {
    return this.addedDone === DONE
  }

  /** The next root that the collector hasn't looked at; 0 where there is none just there. REQUIRES: it isn't done. */
  next(): number {
    if (this.dropped.length > 0) return this.dropped.words[--this.dropped.length]!
    if (this.addedDone < this.added.length) return this.added.words[this.addedDone++]!
    if (this.scopedDone < this.scoped.length) return this.scoped.words[this.scopedDone++]!
    this.addedDone = DONE
    this.scopedDone = DONE
    return 0
  }

  /** How many there are; what the pacer counts as theirs. */
  get count(): number {
    return this.added.length - this.free.length + this.scoped.length
  }
}

/** A scope that is open: where its objects start. */
export interface OpenScope {
  start: number
}
