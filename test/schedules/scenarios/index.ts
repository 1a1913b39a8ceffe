import type { Scenario } from '../scenario.ts'
import { BLOCKS } from './blocks.ts'
import { LIFETIMES } from './lifetimes.ts'
import { PAGES } from './pages.ts'
import { SHARED } from './shared.ts'
import { THREADS } from './threads.ts'

/** All scenarios. */
export const SCENARIOS: readonly Scenario[] = [...BLOCKS, ...PAGES, ...THREADS, ...LIFETIMES, ...SHARED]
