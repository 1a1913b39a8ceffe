/*
 * The library's own access to records, cursors and parts. They are methods, since no option of `inspect` shows these, under symbols, since
 * a field may have any name.
 */

/** The views that it lies in. */
export const views = Symbol('views')
/** The offset in the views; in a cursor over columns, the index. */
export const offset = Symbol('offset')
/** How its fields are read and written; on the prototype. */
export const accessors = Symbol('accessors')
/** In a record: its relation to its block. In a cursor over columns: where these start. */
export const hold = Symbol('hold')
/** Moves a part. */
export const place = Symbol('place')
/** Its memory was freed: from now on it shows other views, and so do the parts that were read from it. */
export const end = Symbol('end')
