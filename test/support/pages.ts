/** Page.First, as a value: a constant of the library that its compiler has put into the code. */
export const FIRST_USED_PAGE = 8
