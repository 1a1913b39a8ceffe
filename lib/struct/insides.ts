/*
 * What the library asks of records, cursors and parts: methods, since no option of `inspect` shows these, under symbols, since a field may
 * have any name.
 */

/** What it lies in. */
export const views = Symbol('views')
/** The offset in the views; of a cursor over columns, the index. */
export const offset = Symbol('offset')
/** How its fields are read and written; on the prototype. */
export const accessors = Symbol('accessors')
/** Of a record: what it is to its block. Of a cursor over columns: where these start. */
export const hold = Symbol('hold')
/** Puts a part somewhere else. */
export const place = Symbol('place')
/** What it is in was freed: it shows other views from now on, and so do the parts that were read. */
export const end = Symbol('end')
