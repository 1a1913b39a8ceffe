/** The initial capacity for roots, and for objects of scopes. */
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
 * The collector's starting points: roots that the program has added, objects that were allocated in open scopes, and the newest object.
 * Each is stored as the unit of 8 bytes that it starts with.
 */
export class Roots {
  /** The newest object; 0 before the first. */
  newest = 0
  private readonly added = new Units()
  private readonly scoped = new Units()
  /** Objects of scopes that ended while the collector marks, if it hadn't looked at them. */
  private readonly dropped = new Units()
  private readonly scopes: OpenScope[] = []
  /** Ids of removed roots, to be given out again. */
  private readonly free = new Units()
  /** The collector's position in both lists; beyond them when it isn't marking. */
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

  /** Removes a root and returns its object; 0 if there is no root of this id, and nothing changes. */
  remove(id: number): number {
    const unit = Number.isInteger(id) && id > 0 && id <= this.added.length ? this.added.words[id - 1]! : 0
    if (unit !== 0) {
      this.free.push(id)
      this.added.words[id - 1] = 0
    }
    return unit
  }

  /** Notes the newest object, and keeps it longer if a scope is open. */
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
   * Ends a scope, the innermost or not. Objects that an older open scope also has stay, and so do those of scopes opened in it. While the
   * collector marks, all others are still to be looked at. Does nothing if the scope has ended already.
   */
  close(scope: OpenScope): void {
    const { scopes, scoped } = this
    const index = scopes.indexOf(scope)
    if (index < 0) return
    // Objects allocated in it were also allocated in the scope before it, which keeps them.
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

  /** Whether the collector has looked at all roots. */
  get isDone(): boolean {
    return this.addedDone === DONE
  }

  /** The next root that the collector hasn't looked at; 0 if that place is empty. REQUIRES: it isn't done. */
  next(): number {
    if (this.dropped.length > 0) return this.dropped.words[--this.dropped.length]!
    if (this.addedDone < this.added.length) return this.added.words[this.addedDone++]!
    if (this.scopedDone < this.scoped.length) return this.scoped.words[this.scopedDone++]!
    this.addedDone = DONE
    this.scopedDone = DONE
    return 0
  }

  /** How many roots there are, as the pacer counts them. */
  get count(): number {
    return this.added.length - this.free.length + this.scoped.length
  }
}

/** An open scope: where its objects start. */
export interface OpenScope {
  start: number
}
