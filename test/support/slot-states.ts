/** States of slots, as pool-slots.ts numbers them. */
export const [EMPTY, FREE, MAKING, ACQUIRED, WATCHED, LEASED, TRIMMING] = [
  0, 1, 0x100, 0x200, 0x300, 0x400, 0x500,
] as const

/** What a pool tells its slots of itself. */
export const SHAPE = { size: 100, alignment: 0, zero: 0, most: 40 } as const
