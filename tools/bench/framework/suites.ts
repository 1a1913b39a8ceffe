import { collector } from '../suites/collector.ts'
import { fragmentation } from '../suites/fragmentation.ts'
import { growth, mapped } from '../suites/growth.ts'
import { locks } from '../suites/locks.ts'
import { messages } from '../suites/messages.ts'
import { patterns } from '../suites/patterns.ts'
import { programs } from '../suites/programs/programs.ts'
import { systemCalls } from '../suites/system-calls.ts'
import { traces } from '../suites/traces.ts'
import { views } from '../suites/views.ts'
import type { Suite } from './suite.ts'

/** All suites, in the order of the report. */
export const SUITES: readonly Suite[] = [
  systemCalls,
  traces,
  patterns,
  views,
  messages,
  programs,
  locks,
  growth,
  mapped,
  fragmentation,
  collector,
]

/** @throws Error where there is none of that name */
export function suiteNamed(name: string): Suite {
  const found = SUITES.find((suite) => suite.name === name)
  if (found === undefined) throw new Error(`there is no suite ${name}`)
  return found
}
