import type { MemoryKind } from '../../lib/os/mapper.ts'
import { KINDS, type Outcome, outcomeOf } from './api.ts'
import { GROUPS } from './list.ts'

// Prints, as one line of JSON, what comes of every API in the Node that runs this; for scripts/node-apis.mjs.
const outcomes: Record<string, Record<MemoryKind, Outcome>> = {}
for (const api of GROUPS.flatMap(({ apis }) => apis)) {
  const row = {} as Record<MemoryKind, Outcome>
  for (const kind of KINDS) {
    const { outcome, error } = await outcomeOf(api, kind)
    row[kind] = outcome
    if (error !== undefined) process.stderr.write(`${api.name}, ${kind}: ${outcome}: ${error.message}\n`)
  }
  outcomes[api.name] = row
}
process.stdout.write(`${JSON.stringify({ version: process.versions.node, outcomes })}\n`)
process.exit()
