import { Span, SpanEntry } from './span.ts'

/**
 * Lists of spans, linked through their entries: the first in the list is taken first.
 * INVARIANT: a span is in one list at most, and any code that takes it out knows which.
 */
export class SpanLists {
  private readonly heads: Int32Array
  private readonly tails: Int32Array
  private readonly spans: Int32Array

  constructor(spans: Int32Array, count: number) {
    this.heads = new Int32Array(count)
    this.tails = new Int32Array(count)
    this.spans = spans
  }

  /** The first span of a list; 0 if the list is empty. */
  first(list: number): number {
    return this.heads[list]!
  }

  push(list: number, start: number): void {
    const { heads, tails, spans } = this
    const entry = start << SpanEntry.Shift
    const last = tails[list]!
    spans[entry + Span.Next] = 0
    spans[entry + Span.Previous] = last
    if (last === 0) heads[list] = start
    else spans[(last << SpanEntry.Shift) + Span.Next] = start
    tails[list] = start
  }

  /** Takes the first span out; 0 if there is none. */
  pop(list: number): number {
    const start = this.heads[list]!
    if (start !== 0) this.remove(list, start)
    return start
  }

  /** REQUIRES: the span is in this list. */
  remove(list: number, start: number): void {
    const { heads, tails, spans } = this
    const entry = start << SpanEntry.Shift
    const next = spans[entry + Span.Next]!
    const previous = spans[entry + Span.Previous]!
    if (previous === 0) heads[list] = next
    else spans[(previous << SpanEntry.Shift) + Span.Next] = next
    if (next === 0) tails[list] = previous
    else spans[(next << SpanEntry.Shift) + Span.Previous] = previous
  }

  /** The spans of a list; for audits. @throws RangeError if there are more than `most`: then the list is circular */
  members(list: number, most: number): number[] {
    const found: number[] = []
    for (let start = this.heads[list]!; start !== 0; start = this.spans[(start << SpanEntry.Shift) + Span.Next]!) {
      if (found.push(start) > most) throw new RangeError(`list ${list} has more spans than there are`)
    }
    return found
  }
}
