import { FIRST_TIER_WORD } from '../memory/tables.ts'

/** Where each tier's words start in the control section. The tiers' files say what the words are. */
export const PAGE_HEAP_AT = FIRST_TIER_WORD
export const CENTRAL_CACHE_AT = PAGE_HEAP_AT + 808
export const BUDGET_AT = CENTRAL_CACHE_AT + 2048
export const PEAKS_AT = BUDGET_AT + 8
export const CONTROL_WORDS = PEAKS_AT + 8
