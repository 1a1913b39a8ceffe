import { fuzzShim } from './shim.ts'
import { fuzzToken } from './token.ts'
import { fuzzTrace } from './trace.ts'

/** One round of a target: so many cases, all made from a seed. @throws whatever shouldn't have come out */
export type Target = (seed: number, cases: number, note: (text: string) => void) => void

/** What is fuzzed, by the names that scripts/fuzz.mjs takes. */
export const TARGETS: Readonly<Record<string, Target>> = { trace: fuzzTrace, token: fuzzToken, shim: fuzzShim }
