import { closeMemories, type Outcome, outcomeOf, PLACES, type Place } from './api.ts'
import { GROUPS } from './list.ts'

// Prints, as one line of JSON, what comes of every API in the Node that runs this; for scripts/node-apis.mjs.
const outcomes: Record<string, Record<Place, Outcome>> = {}
for (const api of GROUPS.flatMap(({ apis }) => apis)) {
  const row = {} as Record<Place, Outcome>
  for (const place of PLACES) {
    const { outcome, error } = await outcomeOf(api, place)
    row[place] = outcome
    if (error !== undefined) process.stderr.write(`${api.name}, ${place}: ${outcome}: ${error.message}\n`)
  }
  outcomes[api.name] = row
}
closeMemories()
process.stdout.write(`${JSON.stringify({ version: process.versions.node, outcomes })}\n`)
process.exit()
