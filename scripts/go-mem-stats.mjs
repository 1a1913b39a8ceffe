// Plays the programs of test/go/mem-stats.json on Go's own heap, and writes there what its runtime.MemStats says. Go must be in the PATH.
//
//     node scripts/go-mem-stats.mjs
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const path = (name) => fileURLToPath(new URL(`../${name}`, import.meta.url))
const fixture = path('test/go/mem-stats.json')
const { programs } = JSON.parse(readFileSync(fixture, 'utf8'))
const output = execFileSync('go', ['run', path('test/go/mem-stats.go')], { input: JSON.stringify(programs) })
const { go, figures } = JSON.parse(output)
// These depend on the objects and stacks of Go's own runtime, but in programs that are made for them.
const own = ['HeapInuse', 'Retained', 'GoalMiB']
const told = programs.map((program, i) => {
  const left = own.filter((name) => !program.also?.includes(name))
  const entries = (read) => Object.entries(read).filter(([name]) => !left.includes(name))
  return { ...program, figures: figures[i].map((read) => Object.fromEntries(entries(read))) }
})
writeFileSync(fixture, JSON.stringify({ go, programs: told }))
execFileSync('npx', ['biome', 'format', '--write', fixture])
