/** What the tables know of a page's past, in one byte. */
export const enum PagePast {
  /** The page isn't as the system gave it, all zeros: it has been handed out. */
  Dirty = -128,
  /** The size class that the page had last, if stacks may still name its objects; else 0. See stale-entries.ts. */
  ClassMask = 127,
}

/** Notes of the pages from `start` to `end` whether they are all zeros, and keeps the rest of their past. */
export function notePages(past: Int8Array, start: number, end: number, isDirty: boolean): void {
  for (let page = start; page < end; page++)
    past[page] = (past[page]! & PagePast.ClassMask) | (isDirty ? PagePast.Dirty : 0)
}
